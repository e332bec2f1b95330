//! Bad input gets docker's status, a sentence that says what to do, and leaves nothing.

mod api;

carrack_tests::cases!("bad_input": images, limits, names, paths, programs);
