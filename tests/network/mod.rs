//! Networks: the default bridge, published ports, the host beside it.

mod beside;

carrack_tests::cases!("network": bridge, hairpin, in_use, modes, outbound, publish, publish6, verbs);
