//! A program that asks for large pages is started a second time, once, with its arguments and what was in its environment.

use std::env;
use std::process::Command;

const CHOICE: &str = "DERMAFUSE_LARGE_PAGES";
const TUNABLES: &str = "GLIBC_TUNABLES";

fn main() {
    if env::args().nth(1).as_deref() == Some("as a program") {
        dermafuse_devices::restart_with_large_pages();
        let of = |name| env::var(name).unwrap_or_default();
        println!("{}|{}|{}", env::args().skip(1).collect::<Vec<_>>().join(","), of(CHOICE), of(TUNABLES));
        return;
    }
    let run = |chosen: Option<&str>, tunables: Option<&str>| {
        let mut program = Command::new(env::current_exe().expect("this program has a path"));
        program.args(["as a program", "--word", "two words", ""]).env_remove(CHOICE).env_remove(TUNABLES);
        for (name, value) in [(CHOICE, chosen), (TUNABLES, tunables)] {
            if let Some(value) = value {
                program.env(name, value);
            }
        }
        let output = program.output().expect("this program runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let printed = |chosen: &str, tunables: &str| format!("as a program,--word,two words,|{chosen}|{tunables}\n");
    assert_eq!(run(Some("no"), None), printed("no", ""), "it was not wanted");
    assert_eq!(run(None, Some("glibc.malloc.check=0")), printed("", "glibc.malloc.check=0"), "the allocator was set");

    let offered = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let restarts = cfg!(all(target_os = "linux", target_env = "gnu"))
        && (offered.contains("[madvise]") || offered.contains("[always]"));
    let found = run(None, Some("glibc.cpu.x86_shstk=off"));
    match restarts {
        true => {
            let begin = "as a program,--word,two words,|yes|glibc.cpu.x86_shstk=off:glibc.malloc.hugetlb=1:";
            assert!(found.starts_with(begin) && found.lines().count() == 1, "{found}");
        }
        false => assert_eq!(found, printed("", "glibc.cpu.x86_shstk=off"), "there are no large pages here"),
    }
}
