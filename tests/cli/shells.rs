//! What shells and `man` make of it.

use std::io::Write;

use super::*;

#[test]
fn bash_completes_commands_and_options() {
    let script = run(program().args(["completions", "bash"])).ok();
    let complete = |words: &str| {
        let ask = "COMP_WORDS=(fusebox \"$@\"); COMP_CWORD=$#; COMP_LINE=\"fusebox $*\"; COMP_POINT=${#COMP_LINE}; \
            _fusebox fusebox \"${@: -1}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; echo \"${COMPREPLY[*]}\"";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-euc", &format!("source /dev/stdin\nset -- {words}\n{ask}")]);
        bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut bash = bash.spawn().expect("bash");
        bash.stdin.take().expect("piped").write_all(script.as_bytes()).expect("is read");
        let said = bash.wait_with_output().expect("ends");
        assert!(said.status.success(), "{words}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).expect("UTF-8").trim_end().to_owned()
    };
    assert_eq!(complete("tr"), "trip");
    assert_eq!(complete("for"), "forget force-open");
    assert_eq!(complete("list --fail"), "--fail-if-open");
    assert_eq!(complete("list --sort t"), "trouble");
    assert_eq!(complete("wait a --state half"), "half-open");
}

#[test]
fn every_shell_has_its_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(program().args(["completions", shell])).ok();
        assert!(script.contains("force-open") && script.contains("fusebox"), "{shell}");
    }
    let refused = run(program().args(["completions", "tcsh"]));
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn the_page_of_the_manual_has_every_command_and_exit_code() {
    let page = run(program().arg("man")).ok();
    assert!(page.starts_with(".ie") || page.contains(".TH fusebox 1"), "{page}");
    for command in ["list", "show", "watch", "wait", "trip", "reset", "resume", "forget", "check", "migrate", "prune"] {
        assert!(page.contains(&format!("fusebox\\-{command}(1)")), "{command}: {page}");
    }
    assert!(page.contains("3 the store did not answer"), "{page}");
}

#[test]
fn help_goes_to_the_output_and_its_absence_to_the_errors() {
    let help = run(program().arg("--help")).ok();
    assert!(help.contains("Usage: fusebox") && help.contains("dry-run") && !help.contains('\u{1b}'), "{help}");
    let version = run(program().arg("--version")).ok();
    assert_eq!(version, format!("fusebox {}\n", env!("CARGO_PKG_VERSION")));
    let none = run(&mut program());
    assert!(none.code == 2 && none.out.is_empty() && none.err.contains("Usage: fusebox"), "{none:?}");
}

#[test]
fn a_file_of_settings_is_explained_or_told_what_is_wrong() {
    let folder = std::env::temp_dir().join(format!("fusebox-cli-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let check = |path: &std::path::Path| run(program().args(["config", "check"]).arg(path));
    let text = check(&file("good.toml", "[breakers.payments]\ncooldown = \"45s\"\n")).ok();
    assert!(text.starts_with("breakers.payments\n") && text.contains("stays open for 45s"), "{text}");
    let text = check(&file("good.json", r#"{"breakers": {"payments": {"cooldown": "45s"}}}"#)).ok();
    assert!(text.contains("stays open for 45s"), "{text}");
    let wrong = check(&file("wrong.toml", "[breakers.payments]\ncoldown = \"45s\"\n"));
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.err.contains("`breakers.payments.coldown` is unknown; did you mean `cooldown`?"), "{wrong:?}");
    assert!(wrong.err.contains("line 2, column 1"), "{wrong:?}");
    let none = check(&folder.join("none.toml")).fails(1);
    assert!(none.contains("none.toml cannot be read"), "{none}");
    std::fs::remove_dir_all(&folder).ok();
}
