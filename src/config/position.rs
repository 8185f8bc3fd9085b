//! Where each value stands in the file.
