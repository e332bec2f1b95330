//! Names to manifests: load, save, import, tag, list, inspect, history, prune, disk usage
#![forbid(unsafe_code)]
