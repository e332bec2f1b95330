//! Listeners, peer credentials, body limits, take-over of connections, shutdown: every facade stands on it
#![forbid(unsafe_code)]
