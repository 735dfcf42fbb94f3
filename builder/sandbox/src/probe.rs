//! What this machine permits, for `cooper doctor`: one finding for each thing that steps need,
//! and for each "no" how to get it. Looks only; changes nothing.

use crate::cgroup;
use crate::container;
use crate::idmap::{self, Ids, Tier};
use crate::isolated;
use crate::{SandboxError, apparmor, owners, sys};

/// The version of Landlock that can hide abstract sockets (Linux 6.12).
pub(crate) const SCOPES: i64 = 6;

/// The oldest kernel on which steps run: it brought mount_setattr, and the one before it overlay in user namespaces.
const OLDEST: (u32, u32) = (5, 12);

/// The findings without which an ordinary user has one id.
const OF_IDS: [&str; 4] = ["newuidmap", "subordinate user ids", "newgidmap", "subordinate group ids"];

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// Whether it is as needed.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// How to get it, when it is missing.
    pub hint: Option<String>,
}

/// Everything looked at.
#[derive(Debug)]
pub struct Report {
    /// How steps would run, or the first thing that prevents it.
    pub tier: Result<Tier, SandboxError>,
    /// Each thing.
    pub findings: Vec<Finding>,
}

/// Looks at the machine and at what this user may do.
pub fn probe() -> Report {
    if idmap::is_contained() {
        return in_a_container();
    }
    let privileged = idmap::is_privileged();
    let mut findings = vec![identity(privileged), kernel(), seccomp(), abstract_sockets(), limits(), network()];
    // What else is missing matters only where the kernel can do it.
    let mut tier = check_kernel().and_then(|()| if privileged { idmap::tier_found() } else { Ok(Tier::Rootless) });
    if !privileged {
        let mut look = |name, result: Result<String, SandboxError>| {
            findings.push(match &result {
                Ok(detail) => Finding { name, ok: true, detail: detail.clone(), hint: None },
                Err(error) => Finding { name, ok: false, detail: error.to_string(), hint: error.hint() },
            });
            if let (Err(error), true) = (result, tier.is_ok()) {
                tier = Err(error);
            }
        };
        look("user namespaces", user_namespaces());
        let [newuidmap, users, newgidmap, groups] = OF_IDS;
        for (ids, tool_name, range_name) in [(Ids::Users, newuidmap, users), (Ids::Groups, newgidmap, groups)] {
            look(tool_name, privileged_tool(ids));
            look(range_name, subordinate(ids));
        }
        // Namespaces are there: with one id where there are no others, and what would give more is worth a hint.
        if owners::are_recorded_here() && findings.iter().all(|f| f.ok || OF_IDS.contains(&f.name)) && tier.is_err() {
            findings.iter_mut().for_each(|finding| finding.ok = true);
            tier = Ok(Tier::OneId);
        }
    }
    let missing = findings.iter().find(|finding| !finding.ok);
    if let (Ok(_), Some(missing)) = (&tier, missing) {
        tier = Err(SandboxError::Unavailable {
            feature: missing.name,
            cause: missing.detail.clone(),
            hint: missing.hint.clone().unwrap_or_default(),
        });
    }
    Report { tier, findings }
}

/// For a root who cannot mount. What is missing for a better tier is told, and prevents nothing.
fn in_a_container() -> Report {
    let mut findings = vec![identity(false), kernel(), seccomp(), abstract_sockets(), limits()];
    let unfit = findings.iter().find(|finding| !finding.ok).map(|finding| SandboxError::Unavailable {
        feature: finding.name,
        cause: finding.detail.clone(),
        hint: finding.hint.clone().unwrap_or_default(),
    });
    let tier = unfit.map_or_else(container::usable, Err).map(|()| Tier::Container);
    if let Err(error) = &tier {
        findings.push(Finding { name: "chroot", ok: false, detail: error.to_string(), hint: error.hint() });
    }
    findings.push(Finding {
        name: "namespaces and mounts",
        ok: true,
        detail: format!("refused: {}", container::lacks()),
        hint: Some(container::BETTER.to_owned()),
    });
    Report { tier, findings }
}

fn identity(privileged: bool) -> Finding {
    let uid = rustix::process::geteuid().as_raw();
    let admin = if privileged { "with" } else { "without" };
    let under = apparmor::profile().map(|name| format!(", under AppArmor's profile {name}")).unwrap_or_default();
    let detail = format!("uid {uid}, {admin} CAP_SYS_ADMIN as root{under}");
    Finding { name: "identity", ok: true, detail, hint: None }
}

fn kernel() -> Finding {
    let hint = check_kernel().err().and_then(|error| error.hint());
    Finding { name: "kernel", ok: hint.is_none(), detail: release(), hint }
}

/// Can steps run on this kernel?
///
/// # Errors
/// [`SandboxError::Unavailable`] when it is too old.
pub fn check_kernel() -> Result<(), SandboxError> {
    check_release(&release())
}

fn check_release(release: &str) -> Result<(), SandboxError> {
    if is_from(release, OLDEST) {
        return Ok(());
    }
    let ((major, minor), feature) = (OLDEST, "a kernel for RUN");
    let hint = format!("Linux {major}.{minor} or newer is needed");
    Err(SandboxError::Unavailable { feature, cause: format!("this is Linux {release}"), hint })
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Is the kernel this version or a newer one?
pub(crate) fn is_linux(major: u32, minor: u32) -> bool {
    is_from(&release(), (major, minor))
}

fn is_from(release: &str, (major, minor): (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    (numbers.next().and_then(Result::ok), numbers.next().and_then(Result::ok)) >= (Some(major), Some(minor))
}

/// To be asked when it was tried: the kernel loads its module for the first who mounts it.
pub(crate) fn overlay() -> Finding {
    let known = std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.split_whitespace().last() == Some("overlay")));
    let detail = if known { "known to the kernel" } else { "not in /proc/filesystems: roots of steps are copied" };
    let hint = (!known).then(|| "modprobe overlay".to_owned());
    Finding { name: "overlay file system", ok: true, detail: detail.into(), hint }
}

fn seccomp() -> Finding {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
    let detail = match mode {
        Some("0") => "known to the kernel".to_owned(),
        Some(mode) => format!("known to the kernel; this process is under a filter (mode {mode})"),
        None => "not in /proc/self/status".to_owned(),
    };
    let hint = mode.is_none().then(|| "use a kernel with CONFIG_SECCOMP_FILTER".to_owned());
    Finding { name: "seccomp", ok: mode.is_some(), detail, hint }
}

/// A second wall only, so that its absence is no hindrance.
fn abstract_sockets() -> Finding {
    let name = "abstract sockets";
    let version = match sys::ask_landlock() {
        Ok(version) => version,
        // Then no step starts either.
        Err(error) => {
            let (detail, hint) = (format!("{}: {error}", container::UNASKED), Some(container::UNFILTERED.to_owned()));
            return Finding { name, ok: false, detail, hint };
        }
    };
    let hidden = version >= SCOPES;
    let seen = if hidden { "hidden from steps" } else { "visible to steps on the host's network" };
    let hint = (!hidden).then(|| "use Linux 6.12 or newer with Landlock, or --network=none".to_owned());
    Finding { name, ok: true, detail: format!("{seen} (Landlock version {version})"), hint }
}

/// Only for those who ask for limits, so its absence is no hindrance.
fn limits() -> Finding {
    let (detail, hint) = match cgroup::probe() {
        Ok(kept) => (kept, None),
        Err(error) => (format!("cannot all be kept: {error}"), error.hint()),
    };
    Finding { name: "limits of RUN", ok: true, detail, hint }
}

/// Only for those who ask for `--network=isolated`.
fn network() -> Finding {
    let (detail, hint) = match isolated::probe() {
        Ok(helper) => (format!("by {}", helper.display()), None),
        Err(error) => (error.to_string(), error.hint()),
    };
    Finding { name: "isolated network", ok: true, detail, hint }
}

fn user_namespaces() -> Result<String, SandboxError> {
    let setting =
        |path: &str| std::fs::read_to_string(path).map_or_else(|_| "absent".into(), |text| text.trim().to_owned());
    let most = setting("/proc/sys/user/max_user_namespaces");
    let apparmor = setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    let clone = setting("/proc/sys/kernel/unprivileged_userns_clone");
    if most == "0" || clone == "0" {
        return Err(idmap::namespaces_denied("by setting"));
    }
    // The restriction of AppArmor spares whoever has a profile that allows them: only a trial tells.
    if !idmap::may_have_namespaces() {
        return Err(idmap::namespaces_denied("tried"));
    }
    Ok(format!("max_user_namespaces {most}, AppArmor restriction {apparmor}"))
}

fn privileged_tool(ids: Ids) -> Result<String, SandboxError> {
    idmap::privileged_tool(ids).map(|(path, how)| format!("{} ({how})", path.display()))
}

fn subordinate(ids: Ids) -> Result<String, SandboxError> {
    let ranges = idmap::given(ids, &idmap::own_name())?;
    let total: u64 = ranges.iter().map(|(_, count)| u64::from(*count)).sum();
    Ok(format!("{total} ids in {}", ids.file()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn kernels_that_are_too_old_are_told() {
        for (release, enough) in [
            ("4.19.0-27-amd64", false),
            ("5.10.0-32-amd64", false),
            ("5.9", false),
            ("5.12.0", true),
            ("5.15.0-204-generic", true),
            ("6.1.0-50-amd64", true),
            ("10.0-rc1", true),
            ("odd", false),
        ] {
            let checked = super::check_release(release);
            assert_eq!(checked.is_ok(), enough, "{release}");
            let Err(error) = checked else { continue };
            assert_eq!(error.to_string(), format!("a kernel for RUN not available: this is Linux {release}"));
            assert!(error.hint().is_some_and(|hint| hint == "Linux 5.12 or newer is needed"), "{error:?}");
        }
    }

    #[test]
    fn every_no_has_a_hint() {
        let report = super::probe();
        assert!(report.findings.len() >= 4);
        for finding in report.findings {
            assert!(finding.ok || finding.hint.is_some(), "{finding:?}");
        }
    }
}
