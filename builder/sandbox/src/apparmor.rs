//! AppArmor, as far as it is in the way of steps: the profile that this process has to obey, Ubuntu's restriction of user
//! namespaces, and what to write so that it allows them. Looks only.

use std::io;
use std::path::Path;

/// Ubuntu's setting: whoever has no profile that allows user namespaces gets none, or one without rights.
const RESTRICTION: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
/// The profile into which the restriction puts whoever makes a user namespace.
const OF_RESTRICTION: &str = "unprivileged_userns";
/// What a profile that is obeyed needs for builds.
pub(crate) const RULES: &str = "flags=(attach_disconnected) and `userns,`, `capability,`, `mount,`, `umount,`, \
                                `pivot_root,`, `file,`, `network,`, `unix,`, `signal,` and `ptrace,`";

/// The profile that this process has to obey.
pub(crate) fn profile() -> Option<String> {
    match std::fs::read_to_string("/proc/self/attr/apparmor/current") {
        Ok(label) => enforced(&label),
        // Nothing else forbids a process that look.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some("of this process".to_owned()),
        Err(_) => None,
    }
}

/// Of a label with its mode, as the kernel says it.
fn enforced(label: &str) -> Option<String> {
    let (name, mode) = label.trim_end_matches(['\n', '\0']).rsplit_once(' ')?;
    matches!(mode, "(enforce)" | "(kill)").then(|| name.to_owned())
}

/// Is it the restriction that keeps user namespaces from a process with this profile, and not the profile itself?
pub(crate) fn restricts(profile: Option<&str>) -> bool {
    let on = std::fs::read_to_string(RESTRICTION).is_ok_and(|text| text.trim() == "1");
    on && profile.is_none_or(|name| name == OF_RESTRICTION)
}

/// How this program is spared the restriction, as a command that can be copied.
pub(crate) fn spared() -> String {
    let program = std::env::current_exe().ok();
    let path = program.as_deref().and_then(plain).unwrap_or("/PATH/OF/cooper");
    format!(
        "as root, allow them to this program: echo 'abi <abi/4.0>, profile cooper {path} flags=(unconfined) {{ userns, }}' > \
         /etc/apparmor.d/cooper && apparmor_parser -r /etc/apparmor.d/cooper; or to all programs: sysctl -w \
         kernel.apparmor_restrict_unprivileged_userns=0"
    )
}

/// A path that means itself in a profile and in a shell.
fn plain(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let means_itself = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    text.chars().all(means_itself).then_some(text)
}

/// What to do where something is denied for no reason that can be seen, and a profile is to be obeyed.
pub(crate) fn suspected(profile: Option<&str>) -> Option<String> {
    profile.map(|name| format!("where AppArmor's profile {name} denies it, give that profile {RULES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_obeyed_where_it_is_enforced() {
        for (label, name) in [
            ("unconfined\n", None),
            ("cooper (enforce)\n", Some("cooper")),
            ("/opt/my cooper//child (kill)", Some("/opt/my cooper//child")),
            ("cooper (complain)\n", None),
            ("flatpak (unconfined)\n", None),
        ] {
            assert_eq!(enforced(label).as_deref(), name, "{label}");
        }
    }

    #[test]
    fn the_command_names_this_program() {
        let own = std::env::current_exe().unwrap();
        let profile = format!("profile cooper {} flags=(unconfined) {{ userns, }}' > /etc", own.display());
        assert!(spared().contains(&profile), "{}", spared());
        for (path, means_itself) in [
            ("/usr/local/bin/cooper", true),
            ("/home/ann/.cargo/bin/cooper-0.1+x_y", true),
            ("/opt/my tools/cooper", false),
            ("/opt/{a,b}/cooper", false),
            ("/opt/it's/cooper", false),
            ("/usr/bin/cooper (deleted)", false),
        ] {
            assert_eq!(plain(Path::new(path)).is_some(), means_itself, "{path}");
        }
    }

    #[test]
    fn only_a_profile_is_suspected() {
        assert_eq!(suspected(None), None);
        let said = suspected(Some("cooper")).unwrap();
        assert!(said.starts_with("where AppArmor's profile cooper denies it") && said.contains("`file,`"), "{said}");
    }
}
