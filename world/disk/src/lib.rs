//! Journal and block files.
