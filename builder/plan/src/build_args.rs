//! Build arguments that nothing takes: mostly typing errors.
//!
//! Takes a Dockerfile and a request; gives names for a warning. Must never name an argument that has an effect.

use crate::request::PlanRequest;
use crate::scope::predefined;
use cooper_dockerfile::instruction::{ArgDecl, Dockerfile, Instruction};
use std::collections::BTreeSet;

/// Names given with `--build-arg` that no ARG of the file declares, sorted. ARGs of every stage count, needed or not,
/// and those in ONBUILD; proxies, platform arguments, BUILDKIT_* and SOURCE_DATE_EPOCH have an effect without an ARG.
pub fn unused_build_args(file: &Dockerfile, request: &PlanRequest) -> Vec<String> {
    let mut declared: BTreeSet<String> = file.global_args.iter().map(|a| a.value.name.clone()).collect();
    let mut add = |args: &[ArgDecl]| declared.extend(args.iter().map(|a| a.name.clone()));
    for instruction in file.stages.iter().flat_map(|s| &s.instructions) {
        match &instruction.value {
            Instruction::Arg(args) => add(args),
            Instruction::OnBuild(text) => {
                let triggers = cooper_dockerfile::parse_trigger(text, file.escape).unwrap_or_default();
                for trigger in triggers {
                    if let Instruction::Arg(args) = &trigger.value {
                        add(args);
                    }
                }
            }
            _ => {}
        }
    }
    let unused = |name: &&String| !declared.contains(*name) && !predefined(name);
    request.build_args.keys().filter(unused).cloned().collect()
}
