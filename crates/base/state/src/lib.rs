//! redb: typed tables, versions, group commit, an explicit cache bound
#![forbid(unsafe_code)]
