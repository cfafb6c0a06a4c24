//! The record: the journal adds up to the same whichever way it is taken, and what people read stays as it is.

#![cfg(test)]

mod errors;
mod generated;
mod golden;
mod laws;
mod sentences;
mod size;
mod story;
