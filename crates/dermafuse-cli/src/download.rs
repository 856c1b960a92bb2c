//! The verb `download`.

use std::path::PathBuf;

use clap::Args;
use dermafuse::backbones::BackboneKind;

use crate::failure::ProgramResult;

/// Download published ImageNet weights.
///
/// They are for training from, or for carrying to a machine without a network. An interrupted download is continued.
#[derive(Args, Clone, Debug)]
#[cfg_attr(not(feature = "download"), allow(dead_code, reason = "nothing is downloaded"))]
pub(crate) struct Arguments {
    /// The architecture; `dermafuse models` lists them.
    name: BackboneKind,
    /// The folder for the file.
    #[arg(long, value_name = "DIR", default_value = "weights")]
    out: PathBuf,
    /// The address of a folder with copies of the published files, under their names.
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

#[cfg(feature = "download")]
pub(crate) fn download(arguments: &Arguments) -> ProgramResult {
    use dermafuse::backbones::{DownloadProgress, PublishedWeights};
    use dermafuse::recipes::TerminalProgress;

    use crate::terminal::say;

    fn show(progress: &DownloadProgress, terminal: &mut TerminalProgress) {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let received = megabytes(progress.received);
        let Some(total) = progress.total else { return terminal.passing(&received) };
        let times = terminal.times("bytes", progress.received as f64, total as f64);
        let line = format!("{received} of {}  {times}", megabytes(total));
        match total == progress.received {
            true => terminal.lasting(&line),
            false => terminal.passing(&line),
        }
    }

    let Some(published) = arguments.name.published_weights() else {
        return Err(format!("nobody has published weights for {}", arguments.name).into());
    };
    let copy =
        arguments.mirror.as_ref().map(|mirror| format!("{}/{}", mirror.trim_end_matches('/'), published.file_name()));
    let weights = PublishedWeights { url: copy.as_deref().unwrap_or(published.url), ..published };

    say!("{}", weights.url);
    say!("licence: {}", weights.licence);
    let mut terminal = TerminalProgress::default();
    let path = weights.download(&arguments.out, |progress| show(&progress, &mut terminal))?;
    say!("{}", path.display());
    Ok(())
}

#[cfg(not(feature = "download"))]
pub(crate) fn download(_: &Arguments) -> ProgramResult {
    Err("this program was built without downloads; install it with `cargo install dermafuse-cli --features download`"
        .into())
}
