//! Configurations of other programs, as RON.
