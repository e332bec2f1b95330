//! "It looks like a machine from a distance": held phrase by phrase on a real Debian.

carrack_tests::cases!("vm": apt, machine, ssh);
