//! Planning from text to steps, rule by rule.

mod golden;
mod instructions;
mod mounts;
mod planning;
mod refusals;
mod requests;
mod stages;
mod traps;
mod variables;
