//! HTTP on loopback: the native API and its event stream.
