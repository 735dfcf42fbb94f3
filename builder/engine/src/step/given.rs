//! What the command line adds to a RUN, for its key and for its process.
//!
//! Takes the request; gives plain data. Must never let an address or a secret into a key.

use super::mounts::Files;
use crate::EngineError;
use crate::run_request::Allowed;
use crate::solve::Build;
use cooper_plan::key::Given;
use cooper_plan::op::{Exec, Network, Security};
use cooper_sandbox::{Limit, Surroundings};

impl Build<'_> {
    /// Is everything that the RUN asks for allowed?
    pub fn allowed(&self, exec: &Exec) -> Result<(), EngineError> {
        if exec.security == Security::Insecure && self.request.run.insecure == Allowed::No {
            return Err(EngineError::Request {
                message: "RUN --security=insecure is not allowed".to_owned(),
                hint: "add --allow security.insecure when the Dockerfile may do whatever root may".to_owned(),
            });
        }
        let run = &self.request.run;
        // What keeps steps from this machine's network is for whoever calls to lift, never for a Dockerfile.
        let kept_from_it = match run.network {
            Network::Default | Network::Host => return Ok(()),
            Network::None => "none",
            Network::Isolated => "isolated",
        };
        if exec.network == Network::Host && run.host_network == Allowed::No {
            return Err(EngineError::Request {
                message: format!("RUN --network=host is not allowed in a build with --network={kept_from_it}"),
                hint: "add --allow network.host when the Dockerfile may reach what this machine reaches".to_owned(),
            });
        }
        Ok(())
    }

    /// What the RUN depends on beside its own words.
    pub fn given(&self, files: &[Option<Files>]) -> Given {
        let run = &self.request.run;
        let mut hosts: Vec<String> = run.hosts.iter().map(|(name, _)| name.clone()).collect();
        hosts.sort();
        let mut limits: Vec<String> = run.limits.iter().map(limit).collect();
        limits.sort();
        let files = files.iter().map(|f| f.as_ref().map(|f| f.digest.clone())).collect();
        let no_new_privs = run.no_new_privs;
        Given { network: run.network, hosts, shm_bytes: run.shm_bytes, limits, no_new_privs, files }
    }

    /// What the process finds around it.
    pub fn surroundings(&self, exec: &Exec) -> Surroundings {
        let run = &self.request.run;
        let network = match exec.network {
            Network::Default => run.network,
            asked => asked,
        };
        Surroundings {
            network: match network {
                Network::None => cooper_sandbox::Network::None,
                Network::Isolated => cooper_sandbox::Network::Isolated,
                Network::Default | Network::Host => cooper_sandbox::Network::Host,
            },
            hostname: exec.hostname.clone().unwrap_or_else(|| "buildkitsandbox".to_owned()),
            hosts: run.hosts.clone(),
            shm_bytes: run.shm_bytes,
            limits: run.limits.clone(),
            resources: run.resources,
            security: match exec.security {
                Security::Sandbox => cooper_sandbox::Security::Sandbox,
                Security::Insecure => cooper_sandbox::Security::Insecure,
            },
            no_new_privs: run.no_new_privs,
            streams: Default::default(),
        }
    }
}

fn limit(limit: &Limit) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    format!("{:?}={}:{}", limit.resource, number(limit.soft), number(limit.hard)).to_lowercase()
}
