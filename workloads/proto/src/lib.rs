//! Names, identities and messages that every part of MedIndex shares.
