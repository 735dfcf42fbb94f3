//! Every rule that needs the file alone: what it says and where, when it is silent, and that it can be skipped.

use super::*;

/// `Rule line: detail` of every finding that the file does not skip.
fn found(text: &str) -> Vec<String> {
    let source = Source::new(text);
    let ast = crate::tree(text);
    let mut findings = Findings::default();
    find(&source, &ast, &mut findings);
    let told = |f: &Finding| !skips(&skipped(&source, f.span.start), f.rule.id);
    let line = |f: Finding| format!("{} {}: {}", f.rule.id, f.span.start, f.detail);
    findings.sorted().into_iter().filter(told).map(line).collect()
}

/// The text as the fixes of one rule leave it.
fn mended(text: &str, rule: &str) -> String {
    let source = Source::new(text);
    let mut findings = Findings::default();
    find(&source, &crate::tree(text), &mut findings);
    let edits: Vec<Edit> = findings.sorted().into_iter().filter(|f| f.rule.id == rule).flat_map(|f| f.edits).collect();
    apply(text, &edits)
}

#[test]
fn buildkits_cases() {
    let cases: &[(&str, &[&str])] = &[
        (
            "\n# warning: stage name should be lowercase\n#\nFROM scratch AS BadStageName\n\n#\nFROM scratch as base2\n\nFROM scratch AS base3\n",
            &[
                "StageNameCasing 4: Stage name 'BadStageName' should be lowercase",
                "FromAsCasing 7: 'as' and 'FROM' keywords' casing do not match",
            ],
        ),
        (
            "\nfrom scratch AS base\n\nfrom scratch as base2\n",
            &["FromAsCasing 2: 'AS' and 'from' keywords' casing do not match"],
        ),
        (
            "\nFROM scratch\n# warning\nCOPY Dockerfile \\\n\n.\nCOPY Dockerfile \\\n.\n",
            &["NoEmptyContinuation 6: Empty continuation line"],
        ),
        (
            "From scratch as base\nFROM scratch AS base2\n",
            &[
                "ConsistentInstructionCasing 1: Command 'From' should match the case of the command majority (uppercase)",
            ],
        ),
        (
            "\nFROM scratch\n#\ncopy Dockerfile /foo\nCOPY Dockerfile /bar\n",
            &[
                "ConsistentInstructionCasing 4: Command 'copy' should match the case of the command majority (uppercase)",
            ],
        ),
        (
            "frOM scratch as base\nfrom scratch as base2\n",
            &[
                "ConsistentInstructionCasing 1: Command 'frOM' should match the case of the command majority (lowercase)",
            ],
        ),
        (
            "FROM scratch\ncopy Dockerfile /foo\ncopy Dockerfile /bar\ncopy Dockerfile /baz\n",
            &[
                "ConsistentInstructionCasing 1: Command 'FROM' should match the case of the command majority (lowercase)",
            ],
        ),
        ("from scratch\ncopy Dockerfile /foo\n", &[]),
        ("FROM alpine\nRUN <<'EOT'\nenv\nEOT\n", &[]),
        (
            "FROM scratch AS b\nFROM scratch AS b\n",
            &["DuplicateStageName 2: Duplicate stage name \"b\", stage names should be unique"],
        ),
        ("FROM scratch AS b1\nFROM scratch AS b2\n", &[]),
        (
            "FROM scratch AS scratch\nFROM scratch AS context\n",
            &[
                "ReservedStageName 1: Stage name should not use the same name as reserved stage \"scratch\"",
                "ReservedStageName 2: Stage name should not use the same name as reserved stage \"context\"",
            ],
        ),
        ("FROM scratch\nFROM scratch AS a\n", &[]),
        (
            "FROM scratch\nMAINTAINER me@example.org\n",
            &["MaintainerDeprecated 2: Maintainer instruction is deprecated in favor of using label"],
        ),
        ("FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER me@example.org\n", &[]),
        (
            "FROM scratch AS BadStageName\nMAINTAINER me@example.org\nBADCMD\n",
            &[
                "StageNameCasing 1: Stage name 'BadStageName' should be lowercase",
                "MaintainerDeprecated 2: Maintainer instruction is deprecated in favor of using label",
            ],
        ),
        (
            "FROM scratch\nENTRYPOINT [\"/a\"]\nENTRYPOINT [\"/b\"]\nCMD [\"/a\"]\nCMD [\"/b\"]\nHEALTHCHECK CMD [\"/a\"]\nHEALTHCHECK CMD [\"/b\"]\n",
            &[
                "MultipleInstructionsDisallowed 2: Multiple ENTRYPOINT instructions should not be used in the same stage because only the last one will be used",
                "MultipleInstructionsDisallowed 4: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
                "MultipleInstructionsDisallowed 6: Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used",
            ],
        ),
        ("FROM scratch AS a\nCMD [\"/a\"]\nFROM a AS b\nCMD [\"/b\"]\n", &[]),
        (
            "FROM scratch\nENV testkey value\nLABEL key value\n",
            &[
                "LegacyKeyValueFormat 2: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
                "LegacyKeyValueFormat 3: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            ],
        ),
        ("FROM scratch\nENV testkey=value\nLABEL key=value\n", &[]),
        ("FROM scratch\n# check=skip=LegacyKeyValueFormat\nENV testkey value\n", &[]),
        (
            "FROM scratch\nEXPOSE 80/TcP 8080/TCP 8080/udp\n",
            &[
                "ExposeProtoCasing 2: Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
                "ExposeProtoCasing 2: Defined protocol '8080/TCP' in EXPOSE instruction should be lowercase",
            ],
        ),
        (
            "FROM scratch\nEXPOSE 127.0.0.1:80:80 [::1]:8080:8080 5000:5000 8000\n",
            &[
                "ExposeInvalidFormat 2: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
                "ExposeInvalidFormat 2: EXPOSE instruction should not define an IP address or host-port mapping, found '[::1]:8080:8080'",
                "ExposeInvalidFormat 2: EXPOSE instruction should not define an IP address or host-port mapping, found '5000:5000'",
            ],
        ),
        ("FROM scratch\nARG P=80\nEXPOSE ${P:-1} $P/$Q :80 8000-8010/tcp\n", &[]),
        ("FROM scratch\n# check=skip=ExposeProtoCasing,ExposeInvalidFormat\nEXPOSE 1:80/TCP\n", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
}

#[test]
fn buildkits_case_of_secrets() {
    let text = "FROM scratch\nARG SECRET_PASSPHRASE\nENV SUPER_Secret=foo\nENV password=bar secret=baz\n\
                ARG super_duper_secret_token=foo auth=bar\nENV apikey=bar sunflower=foo\nENV git_key=\nENV PUBLIC_KEY=\n\
                ARG public_token\nARG SECRET_PASSPHRASE_FILE\nENV password_file=bar secret_File=baz\nARG AUTH_MODULE_VERSION\n\
                # check=skip=SecretsUsedInArgOrEnv // allow secret in environment\nENV password=bar\n\
                # check=skip=all // is local to only this instruction\nARG alternate_password\n";
    let expected = [
        (2, "ARG \"SECRET_PASSPHRASE\""),
        (3, "ENV \"SUPER_Secret\""),
        (4, "ENV \"password\""),
        (4, "ENV \"secret\""),
        (5, "ARG \"super_duper_secret_token\""),
        (5, "ARG \"auth\""),
        (6, "ENV \"apikey\""),
        (7, "ENV \"git_key\""),
    ];
    let line = |(line, name): &(u32, &str)| {
        format!("SecretsUsedInArgOrEnv {line}: Do not use ARG or ENV instructions for sensitive data ({name})")
    };
    assert_eq!(found(text), expected.iter().map(line).collect::<Vec<_>>());
    assert!(found("ARG password\nFROM scratch\n").is_empty());
}

#[test]
fn buildkits_case_of_descriptions() {
    let good = "# check=experimental=InvalidDefinitionDescription\n# foo this is the foo\nARG foo=bar\n\n\
                # base this is the base image\nFROM scratch AS base\n\n# version this is the version number\n\
                ARG version=latest\n\n# baz this is the baz\nARG foo=baz bar=qux baz=quux\n#\nARG bit=bat\n\n\
                # comment for something other than ARG or FROM\nCOPY Dockerfile .\n";
    let of = |text: &str| {
        found(text)
            .into_iter()
            .filter_map(|f| Some(f.strip_prefix("InvalidDefinitionDescription ")?.to_owned()))
            .collect()
    };
    let none: Vec<String> = of(good);
    assert!(none.is_empty(), "{none:?}");
    let bad = "# check=experimental=InvalidDefinitionDescription\n# bar this is the bar\nARG foo=bar\n\
               # BasE this is the BasE image\nFROM scratch AS base\n# definitely a bad comment\nARG version=latest\n\
               # definitely a bad comment\nARG foo=baz bar=qux baz=quux\n";
    assert_eq!(
        of(bad),
        [
            "3: Comment for ARG should follow the format: `# foo <description>`",
            "5: Comment for FROM should follow the format: `# base <description>`",
            "7: Comment for ARG should follow the format: `# version <description>`",
            "9: Comment for ARG should follow the format: `# <arg_key> <description>`",
        ]
    );
}

#[test]
fn coopers_own_cases() {
    let cases: &[(&str, &[&str])] = &[
        (
            "FROM debian\nRUN apt-get update && apt-get install -y curl\n",
            &["AptListsLeftBehind 2: the RUN fetches package lists and leaves them in its layer"],
        ),
        ("FROM debian\nRUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*\n", &[]),
        ("FROM debian\nRUN --mount=type=cache,target=/var/lib/apt/lists apt-get update\n", &[]),
        ("FROM debian\nRUN --mount=target=/var/lib/apt/,type=cache,sharing=locked apt-get update\n", &[]),
        ("FROM debian\nRUN --mount=type=tmpfs,dst=/var/lib apt-get update\n", &[]),
        (
            "FROM debian\nRUN --mount=type=cache,target=/var/lib/apt/lists2 --mount=type=bind,target=/var/lib/apt apt-get update\n",
            &["AptListsLeftBehind 2: the RUN fetches package lists and leaves them in its layer"],
        ),
        ("FROM debian\nRUN apt-get update && apt-get dist-clean\n", &[]),
        ("FROM debian\nRUN <<EOF\napt-get update\nrm -rf /var/lib/apt/lists/*\nEOF\n", &[]),
        ("FROM debian\n# check=skip=AptListsLeftBehind\nRUN apt-get update\n", &[]),
        (
            "FROM node\nCOPY . .\nRUN npm ci\n",
            &[
                "BroadCopyBeforeInstall 2: everything is copied before the dependencies are installed on line 3: copy package.json and package-lock.json first",
            ],
        ),
        ("FROM node\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\nRUN npm ci\n", &[]),
        ("FROM node\nCOPY --from=x . .\nRUN npm ci\n", &[]),
        ("FROM node\nCOPY . .\nRUN npm install -g serve\n", &[]),
        (
            "FROM python\nADD . /app\nRUN pip install --no-cache-dir -r requirements.txt\n",
            &[
                "BroadCopyBeforeInstall 2: everything is copied before the dependencies are installed on line 3: copy the requirements file first",
            ],
        ),
        ("FROM node\nCOPY . .\nFROM node\nRUN npm ci\n", &[]),
        ("FROM node\n# check=skip=BroadCopyBeforeInstall\nCOPY . .\nRUN npm ci\n", &[]),
        (
            "FROM scratch\nARG URL=https://me:pass@host/\n",
            &["SecretInValue 2: ARG looks like a URL with a password (URL)"],
        ),
        ("FROM scratch\nARG URL=https://host/\n", &[]),
        ("FROM scratch\n# check=skip=SecretInValue\nARG URL=https://me:pass@host/\n", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
}

#[test]
fn what_can_be_mended() {
    for (rule, text, expected) in [
        ("StageNameCasing", "FROM a AS Bad\n", "FROM a AS bad\n"),
        ("FromAsCasing", "FROM a as b\n", "FROM a AS b\n"),
        ("FromAsCasing", "\u{feff}from  as  AS  as\n", "\u{feff}from  as  as  as\n"),
        ("ConsistentInstructionCasing", "FROM a\n  run x\\\n y\nRUN z\n", "FROM a\n  RUN x\\\n y\nRUN z\n"),
        ("NoEmptyContinuation", "FROM a\nRUN a \\\n\n \\\n\n  b\n", "FROM a\nRUN a \\\n \\\n  b\n"),
        ("LegacyKeyValueFormat", "FROM a\nENV  k  v w\n", "FROM a\nENV  k=\"v w\"\n".replace("ENV  ", "ENV ").as_str()),
        ("LegacyKeyValueFormat", "FROM a\nenv k $v\r\n", "FROM a\nenv k=$v\r\n"),
        ("LegacyKeyValueFormat", "FROM a\nENV k it's\n", "FROM a\nENV k it's\n"),
        (
            "MaintainerDeprecated",
            "FROM a\nMAINTAINER Me <me@x>\n",
            "FROM a\nLABEL org.opencontainers.image.authors=\"Me <me@x>\"\n",
        ),
        ("MultipleInstructionsDisallowed", "FROM a\nCMD a \\\n b\nCMD c\n", "FROM a\nCMD c\n"),
        ("ExposeProtoCasing", "FROM a\nEXPOSE  80/TCP 1/tcp 8/Udp\n", "FROM a\nEXPOSE  80/tcp 1/tcp 8/udp\n"),
        ("ExposeInvalidFormat", "FROM a\nEXPOSE [::1]:80:81/udp 82\n", "FROM a\nEXPOSE 81/udp 82\n"),
        ("InvalidDefinitionDescription", "# x\nARG a\nFROM b\n", "# x\n\nARG a\nFROM b\n"),
        (
            "AptListsLeftBehind",
            "FROM a\nRUN apt-get update \\\n && apt-get install -y x \n",
            "FROM a\nRUN apt-get update \\\n && apt-get install -y x && rm -rf /var/lib/apt/lists/* \n",
        ),
        ("AptListsLeftBehind", "FROM a\nRUN apt-get update; ls\n", "FROM a\nRUN apt-get update; ls\n"),
    ] {
        let after = mended(text, rule);
        assert_eq!(after, expected, "{rule}");
        if after != text {
            assert!(found(&after).iter().all(|f| !f.starts_with(rule)), "{rule} still says something of\n{after}");
            assert!(crate::parse(&after).dockerfile.is_some(), "{after}");
        }
    }
}

#[test]
fn the_table_is_consistent() {
    let ids: Vec<&str> = rules().map(|r| r.id).collect();
    let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!((ids.len(), unique.len(), table::RULES.len()), (36, 36, 22));
    assert!(table::RULES.iter().all(|r| r.set != Set::Own) && own::RULES.iter().all(|r| r.set != Set::Experimental));
    for rule in rules() {
        assert!(rule.id.chars().all(|c| c.is_ascii_alphanumeric()) && super::rule(rule.id) == Some(rule));
        assert!([rule.description, rule.why, rule.fix].iter().all(|t| !t.is_empty()), "{}", rule.id);
    }
}

#[test]
fn findings_are_bounded() {
    let text = "FROM a AS B\n".repeat(limits::DIAGNOSTICS + 5);
    let source = Source::new(&text);
    let mut findings = Findings::default();
    find(&source, &crate::tree(&text), &mut findings);
    let count = |id: &str| findings.found.iter().filter(|f| f.rule.id == id).count();
    assert_eq!(count("StageNameCasing"), limits::DIAGNOSTICS);
    assert!(findings.is_full(&table::STAGE_NAME_CASING) && !findings.is_full(&table::UNDEFINED_VAR));
}
