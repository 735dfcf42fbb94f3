//! The ends of the help texts: each command as it is used. Every line that begins with `cooper` is one that the grammar
//! takes, which the test below looks at.

pub const BUILD: &str = "\
Examples:
  cooper build -t app:1 .
      builds ./Dockerfile; `cooper explain` says afterwards which steps were not known
  cooper build -t registry.example/app:1 --push --platform linux/amd64,linux/arm64 .
      for two platforms, sent as soon as it is made
  cooper build --target test --build-arg MODE=fast -o type=local,dest=out .
      up to one stage, whose files go to a directory";
pub const CHECK: &str = "\
Examples:
  cooper check .
  cooper check --format json -f build/Dockerfile .";
pub const EXPLAIN: &str = "\
Examples:
  cooper explain
      the last build
  cooper explain --list
      the builds that are remembered, by their numbers
  cooper explain 7 9 --json
      what made the ninth another one than the seventh";
pub const PUSH: &str = "\
Examples:
  cooper push registry.example/team/app:1
  cooper push registry.example/team/app:1 registry.example/team/app:latest
      both tags; what they lead to is sent once
  cooper push --compression-format zstd registry.example/team/app:1
      smaller and sooner there, for whoever reads zstd
  cooper push --json registry.example/team/app:1
      with the digest, for programs";
pub const PULL: &str = "\
Examples:
  cooper pull debian:12
  cooper pull --platform linux/arm64 registry.example/team/app:1
  cooper pull debian@sha256:5f21ebd358442f40099c997a3f4db906a7b1bd872249e67559f55de654b55d3b
      the very same for ever";
pub const COPY: &str = "\
Examples:
  cooper copy debian:12 registry.example/mirror/debian:12 --tag bookworm
      all platforms, under two tags
  cooper copy --referrers registry.example/app:1 oci-layout://images:app
      into a directory, with signatures and bills of materials
  cooper copy oci-archive://app.tar:app:1 store://app:1
      out of an archive into the store
  cooper copy --platform linux/arm64 app:1 docker-archive://-:app:1 | docker load
      one image, for a daemon";
pub const INDEX_CREATE: &str = "\
Examples:
  cooper index create -t registry.example/app:1 registry.example/app:amd64 registry.example/app:arm64
      one name for what two machines have built
  cooper index create -t registry.example/app:1 --append registry.example/app:riscv64
      with one more
  cooper manifest create --dry-run --annotation index:note=nightly app:1 app:2
      only printed";
pub const INDEX_ADD: &str = "\
Examples:
  cooper index add registry.example/app:1 registry.example/app:riscv64
  cooper manifest add oci-layout://images:app docker-image://registry.example/app:s390x --json";
pub const INDEX_ANNOTATE: &str = "\
Examples:
  cooper index annotate registry.example/app:1 linux/arm64 --variant v8
  cooper index annotate registry.example/app:1 linux/arm64 --annotation note=tested
      one entry; without linux/arm64 it is the index itself that gets the note";
pub const MUTATE: &str = "\
Examples:
  cooper mutate app:1 registry.example/app:2 --env MODE=fast --label stage=test --user 1000
  cooper mutate registry.example/app:1 registry.example/app:1 --cmd '[\"/app\", \"--verbose\"]' --json
      in its place, without a layer going anywhere";
pub const APPEND: &str = "\
Examples:
  tar c app | cooper append debian:12 registry.example/app:1 --layer -
  cooper append debian:12 oci-layout://out:app -f base.tar.gz -f app.tar.zst";
pub const FLATTEN: &str = "\
Examples:
  cooper flatten registry.example/app:1 registry.example/app:flat
  cooper flatten --platform linux/amd64 store://app:1 docker-archive://flat.tar:app:flat";
pub const REBASE: &str = "\
Examples:
  cooper rebase registry.example/app:1 registry.example/app:2 --old-base debian:12.1 --new-base debian:12.2
  cooper rebase registry.example/app:2 registry.example/app:2
      on what its base's name leads to now, as the annotations say that the command above left";
pub const EXPORT: &str = "\
Examples:
  cooper export registry.example/app:1 | tar tv
  cooper export --platform linux/arm64 store://app:1 -o root.tar --json";
pub const SAVE: &str = "\
Examples:
  cooper save -o images.tar app:1 db:2 --json
  cooper save --format oci app:1 | ssh host cooper load
      with all platforms, to another machine";
pub const LOAD: &str = "\
Examples:
  cooper load -i images.tar
  docker save app:1 | cooper load --json
  cooper load -i nameless.tar --name app:1";
pub const SYNC: &str = "\
Examples:
  cooper sync debian:12 team.example/app mirror.example/hub
      one image, and all tags of a repository
  cooper sync --file images.txt --dry-run oci-layout://mirror
      what would be copied into a directory";
pub const DIFF: &str = "\
Examples:
  cooper diff registry.example/app:1 registry.example/app:2
  cooper diff --no-files oci-layout://before:app docker-archive://after.tar
      settings and layers; no layer is read
  cooper diff --exit-code --json app:1 app:2
      ends with 1 when they differ";
pub const VALIDATE: &str = "\
Examples:
  cooper validate registry.example/app:1
  cooper validate --fast --json oci-layout://images:app";
pub const REFERRERS: &str = "\
Examples:
  cooper referrers registry.example/app:1
  cooper referrers --artifact-type application/vnd.example.sbom --json registry.example/app:1";
pub const LOGIN: &str = "\
Examples:
  cooper login registry.example
  echo \"$TOKEN\" | cooper login --username me --password-stdin registry.example
  cooper login --get-login docker.io
      as whom";
pub const LOGOUT: &str = "\
Examples:
  cooper logout registry.example";
pub const IMAGES: &str = "\
Examples:
  cooper images
  cooper images --json";
pub const INSPECT: &str = "\
Examples:
  cooper inspect app:1
  cooper inspect --json app:1 | jq .config.config.Env
  cooper inspect --remote --platform linux/arm64 debian:12
  cooper inspect --remote --manifest debian:12 | sha256sum
      the very bytes
  cooper inspect --config oci-layout://DIR:1";
pub const LS_TAGS: &str = "\
Examples:
  cooper ls-tags registry.example/team/app
  cooper ls-tags --json --limit 100 debian
      the first hundred; no more pages are read";
pub const CATALOG: &str = "\
Examples:
  cooper catalog registry.example:5000
  cooper catalog --json -n 100 registry.example:5000";
pub const DIGEST: &str = "\
Examples:
  cooper digest debian:12
  cooper digest --platform linux/arm64 --json registry.example/app:1";
pub const EXISTS: &str = "\
Examples:
  cooper exists registry.example/app:1 || cooper build --push -t registry.example/app:1 .
      builds only what is not there; --json says it in words too";
pub const TAG: &str = "\
Examples:
  cooper tag app:1 app:latest registry.example/team/app:1
  cooper tag --json app:1 app:2";
pub const HISTORY: &str = "\
Examples:
  cooper history app:1
  cooper history --no-trunc --platform linux/arm64 app:1
  cooper history --json app:1";
pub const RM: &str = "\
Examples:
  cooper rm app:1 app:2
  cooper rm --remote registry.example/app:old
      the tag alone, at the registry";
pub const DU: &str = "\
Examples:
  cooper du
  cooper du -v --json";
pub const PRUNE: &str = "\
Examples:
  cooper prune --dry-run
      what would go
  cooper prune --force --max-size 20g
      until no more than 20 GB are left";
pub const UNSHARE: &str = "\
Examples:
  cooper unshare ls -l .
  cooper unshare rm -rf old-store";
pub const PLAN: &str = "\
Examples:
  cooper plan .
  cooper plan --target test -f build/Dockerfile .";
pub const DOCTOR: &str = "\
Examples:
  cooper doctor
  cooper doctor --json";
pub const DEBUG_AST: &str = "\
Examples:
  cooper debug ast .";
pub const DEBUG_INSTRUCTIONS: &str = "\
Examples:
  cooper debug instructions -f build/Dockerfile .";
pub const DEBUG_PLAN: &str = "\
Examples:
  cooper debug plan --target test .";
pub const DEBUG_KEYS: &str = "\
Examples:
  cooper debug keys .";
pub const DEBUG_FSCK: &str = "\
Examples:
  cooper debug fsck
  cooper debug fsck --repair --json";
pub const DEBUG_SHELL: &str = "\
Examples:
  cooper debug shell 3f0c6b19a2d4
  cooper debug shell --secret id=token,src=token.txt 3f0c6b19a2d4 -- cat /src/test.log";

#[cfg(test)]
mod tests {
    use crate::flags::Cli;
    use clap::{Command, CommandFactory as _, Parser as _};

    /// The commands that do something, with what leads to them.
    fn leaves(command: &Command, path: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            match sub.has_subcommands() {
                true => found.extend(leaves(sub, &path)),
                false => {
                    found.push((path, sub.get_after_long_help().map(ToString::to_string).unwrap_or_default()));
                }
            }
        }
        found
    }

    /// The words of a line as a shell has them; a backslash means nothing here.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in line.trim().chars() {
            match quote {
                Some(open) if c == open => quote = None,
                None if matches!(c, '\'' | '"') => quote = Some(c),
                None if c == ' ' => words.push(String::new()),
                _ => words.iter_mut().next_back().expect("there is one").push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// The calls of cooper in a text; long lines go on after a backslash.
    fn calls(text: &str) -> Vec<String> {
        let text = text.replace("\\\n", " ");
        let lines = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("    "));
        let parts = lines.flat_map(|line| line.split(['|'])).map(str::trim);
        parts.filter(|part| part.starts_with("cooper ")).map(str::to_owned).collect()
    }

    #[test]
    fn every_command_shows_how_it_is_used() {
        let all = leaves(&Cli::command(), "cooper");
        assert!(all.len() > 40, "{all:?}");
        for (path, text) in all {
            assert!(text.starts_with("Examples:\n"), "{path} has no example");
            let calls = calls(&text);
            // `manifest` is another name for `index`.
            let own = [path.clone(), path.replace(" index ", " manifest ")];
            assert!(calls.iter().any(|call| own.iter().any(|own| call.starts_with(own.as_str()))), "{path}: {calls:?}");
            for call in calls {
                if let Err(e) = Cli::try_parse_from(words(&call)) {
                    panic!("{path}: {call}: {e}");
                }
            }
        }
    }
}
