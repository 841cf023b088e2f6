//! What others recorded, made into our files.
