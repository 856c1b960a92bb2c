//! The verb `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dermafuse::Model;
use dermafuse::infer::OnnxAnswer;
use dermafuse::onnx::TensorFacts;
use dermafuse::schema::write_whole_file;
#[cfg(feature = "serve")]
use dermafuse::serve::{OfflinePage, RESEARCH_USE};

use crate::failure::{Failure, ProgramResult};
use crate::model::ModelArguments;
use crate::terminal::say;

/// Write a saved model as a file that other programs run.
///
/// An ONNX file gives the model's whole answer, from pixels and the encoded record to probabilities, in ONNX Runtime, in a browser, from
/// Python, C# and others. What it cannot answer is printed. A page is a folder of files for any web server; the browser computes the
/// answers, keeps the page, and sends nothing. docs/onnx.md says what goes in and out.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE")]
    #[cfg_attr(feature = "serve", arg(required_unless_present = "web", conflicts_with = "web"))]
    #[cfg_attr(not(feature = "serve"), arg(required = true))]
    onnx: Option<PathBuf>,
    /// The numbers that the network is written in: f32, or int8 for a model that `dermafuse quantise` measured. An int8 file is smaller and
    /// its probabilities differ; everything behind the network is as in f32.
    #[arg(long, value_enum, default_value_t = FilePrecision::F32)]
    precision: FilePrecision,
    /// A folder, new or empty, for a page that needs no server of ours.
    #[cfg(feature = "serve")]
    #[arg(long, value_name = "DIR")]
    web: Option<PathBuf>,
    /// The folder `dist` of the npm package onnxruntime-web, whose files the page takes along.
    #[cfg(feature = "serve")]
    #[arg(long, value_name = "FOLDER", requires = "web")]
    runtime: Option<PathBuf>,
}

/// The numbers of a file.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FilePrecision {
    /// 32-bit floats.
    F32,
    /// 8-bit integers where the model has ranges for them.
    Int8,
}

pub(crate) fn export(arguments: &Arguments) -> ProgramResult {
    #[cfg(feature = "serve")]
    if let Some(folder) = &arguments.web {
        // Before the model is read.
        let page = OfflinePage::new(folder, arguments.runtime.as_deref())?;
        let answer = answer(arguments)?;
        page.write(answer.for_page()?.bytes())?;
        say!("{}, for any web server, such as `python3 -m http.server --directory {0}`", folder.display());
        tell(&answer);
        say!("{RESEARCH_USE}");
    }
    if let Some(file) = &arguments.onnx {
        let answer = answer(arguments)?;
        write_whole_file(file, answer.model.bytes())?;
        say!("{}", file.display());
        tell(&answer);
    }
    Ok(())
}

/// The model's whole answer as a file.
fn answer(arguments: &Arguments) -> Result<OnnxAnswer, Failure> {
    let model = Model::new(arguments.model.load()?)?;
    Ok(match arguments.precision {
        FilePrecision::F32 => model.to_onnx()?,
        FilePrecision::Int8 => model.to_int8_onnx()?,
    })
}

/// What goes in and out of the file, and what it does not answer.
fn tell(OnnxAnswer { model, ends_at, left_out, .. }: &OnnxAnswer) {
    let megabytes = model.bytes().len() as f64 / 1e6;
    say!("{:9} {megabytes:.1} MB, ONNX operators of version {}", "model", model.opset());
    for (what, tensors) in [("input", model.inputs()), ("output", model.outputs())] {
        tensors.iter().for_each(|tensor| say!("{what:9} {}", text_of(tensor)));
    }
    say!("{:9} {ends_at}: the outputs with the names of tasks are its probabilities", "stage");
    left_out.iter().for_each(|sentence| say!("{:9} {sentence}", "left out"));
}

/// The tensor's name, what it is made of, and its shape: `clinical uint8 [N, 224, 224, 3]`.
fn text_of(tensor: &TensorFacts) -> String {
    let dims: Vec<String> =
        tensor.shape.iter().map(|dim| dim.map_or_else(|| "N".to_owned(), |size| size.to_string())).collect();
    format!("{} {} [{}]", tensor.name, tensor.element, dims.join(", "))
}
