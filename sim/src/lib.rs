//! The pretended world: many nodes, virtual time, faults, liars, checkers.
