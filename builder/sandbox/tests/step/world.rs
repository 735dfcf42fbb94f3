//! A root made from busybox, and steps in it.

use cooper_sandbox::{Files, Network, Outcome, SandboxError, Security, Stack, StepSpec, Surroundings, run};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

pub struct World {
    pub dir: TempDir,
    pub spec: StepSpec,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let base = at("base");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        let busybox = Path::new("/bin/busybox");
        assert!(busybox.exists(), "install busybox-static");
        fs::copy(busybox, base.join("bin/busybox")).unwrap();
        for name in [
            "sh", "ls", "cat", "id", "env", "mount", "unshare", "hostname", "readlink", "sleep", "setsid", "rm",
            "mkdir", "touch", "echo", "grep", "ps", "pwd", "mknod", "umount", "true", "head", "stat", "mv", "ln",
            "chmod",
        ] {
            symlink("busybox", base.join("bin").join(name)).unwrap();
        }
        fs::set_permissions(base.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(base.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n").unwrap();
        fs::write(base.join("etc/group"), "root:x:0:\napp:x:1001:\nextra:x:50:app\n").unwrap();
        for name in ["hosts", "resolv.conf"] {
            fs::write(base.join("etc").join(name), "from the image\n").unwrap();
        }
        let spec = StepSpec {
            files: Files::Layers(Stack {
                lowers: vec![base],
                upper: at("upper"),
                work: at("work"),
                mountpoint: at("root"),
            }),
            argv: Vec::new(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
            user: String::new(),
            script: None,
            mounts: Vec::new(),
            surroundings: Surroundings {
                network: Network::Host,
                hostname: "cooper".into(),
                hosts: Vec::new(),
                shm_bytes: None,
                limits: Vec::new(),
                resources: Default::default(),
                security: Security::Sandbox,
                no_new_privs: false,
                streams: Default::default(),
            },
        };
        Self { dir, spec }
    }

    /// The layers of the root.
    pub fn stack(&mut self) -> &mut Stack {
        match &mut self.spec.files {
            Files::Layers(stack) => stack,
            other @ (Files::Bound(_) | Files::Whole(_)) => panic!("no layers in {other:?}"),
        }
    }

    pub fn upper(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("upper").join(path)
    }

    pub fn base(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("base").join(path)
    }

    /// Puts this program into the root as `/bin/probe`.
    pub fn with_probe(self) -> Self {
        fs::copy(std::env::current_exe().unwrap(), self.base("bin/probe")).unwrap();
        fs::set_permissions(self.base("bin/probe"), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Puts a setuid busybox into the root, for `name`.
    pub fn with_setuid(&self, name: &str) {
        fs::create_dir(self.base("suid")).unwrap();
        let path = self.base("suid").join(name);
        fs::copy("/bin/busybox", &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    }

    pub fn try_sh(&mut self, script: &str) -> (Result<Outcome, SandboxError>, String) {
        self.spec.argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        self.try_run()
    }

    pub fn try_run(&mut self) -> (Result<Outcome, SandboxError>, String) {
        let mut text = Vec::new();
        let never = AtomicBool::new(false);
        let outcome = run(&self.spec, &mut |bytes| text.extend_from_slice(bytes), &never);
        // What the next step of a build would find: a new, empty work directory.
        let work = self.dir.path().join("work");
        let _absent = fs::remove_dir_all(&work);
        let _present = fs::create_dir(&work);
        (outcome, String::from_utf8_lossy(&text).into_owned())
    }

    pub fn sh(&mut self, script: &str) -> String {
        let (outcome, text) = self.try_sh(script);
        assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{script}: {text}");
        text
    }
}

pub fn processes_with(mark: &str) -> usize {
    let mark = mark.as_bytes();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.windows(mark.len()).any(|window| window == mark))
        .count()
}
