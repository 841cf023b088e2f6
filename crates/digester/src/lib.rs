//! digester
