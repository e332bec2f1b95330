//! Parked sandboxes: namespaces, veth, cgroup leaf, supervisor and init made ahead; pool, create, join, destroy in batches
#![forbid(unsafe_code)]
