//! Planning from text to steps, rule by rule.

mod aliases;
mod all_errors;
mod calls;
mod checks;
mod contexts;
mod golden;
mod instructions;
mod mounts;
mod pages;
mod planning;
mod refusals;
mod requests;
mod sizes;
mod stages;
mod traps;
mod variables;
