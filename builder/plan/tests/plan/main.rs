//! Planning from text to steps, rule by rule.

mod golden;
mod instructions;
mod planning;
mod refusals;
mod stages;
mod variables;
