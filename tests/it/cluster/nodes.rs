//! Nodes that write the same keys, and see each other's changes.
