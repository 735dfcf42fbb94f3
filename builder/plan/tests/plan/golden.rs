//! Whole plans as text: `golden/<name>.Dockerfile` gives `golden/<name>.plan`.

use crate::planning::*;
use cooper_plan::dump::dump;

#[test]
fn a_service_as_it_is_written_down() {
    let request = with_args(&[("VERSION", "2"), ("HTTP_PROXY", "http://proxy:3128")]);
    let plan = planned(include_str!("golden/service.Dockerfile"), &request).unwrap_or_else(|e| panic!("{e:#?}"));
    let found = dump(&plan);
    assert!(found == include_str!("golden/service.plan"), "the plan is now:\n{found}");
}
