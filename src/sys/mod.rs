//! What only the operating system can do: the only unsafe code.
