//! The verb `export`.

use std::path::PathBuf;

use clap::Args;
use dermafuse::Model;
use dermafuse::infer::OnnxAnswer;
use dermafuse::onnx::TensorFacts;
use dermafuse::schema::write_whole_file;

use crate::failure::ProgramResult;
use crate::model::ModelArguments;
use crate::terminal::say;

/// Write a saved model as a file that other programs run.
///
/// An ONNX file gives the model's whole answer, from pixels and the encoded record to probabilities, in ONNX Runtime, in a browser, from
/// Python, C# and others. What it cannot answer is printed. docs/onnx.md says what goes in and out.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE", required = true)]
    onnx: Option<PathBuf>,
}

pub(crate) fn export(arguments: &Arguments) -> ProgramResult {
    let model = Model::new(arguments.model.load()?)?;
    if let Some(file) = &arguments.onnx {
        let OnnxAnswer { model, ends_at, left_out } = model.to_onnx()?;
        write_whole_file(file, model.bytes())?;
        let megabytes = model.bytes().len() as f64 / 1e6;
        say!("{} ({megabytes:.1} MB), ONNX operators of version {}", file.display(), model.opset());
        for (what, tensors) in [("input", model.inputs()), ("output", model.outputs())] {
            tensors.iter().for_each(|tensor| say!("{what:9} {}", text_of(tensor)));
        }
        say!("{:9} {ends_at}: the outputs with the names of tasks are its probabilities", "stage");
        left_out.iter().for_each(|sentence| say!("{:9} {sentence}", "left out"));
    }
    Ok(())
}

/// The tensor's name, what it is made of, and its shape: `clinical uint8 [N, 224, 224, 3]`.
fn text_of(tensor: &TensorFacts) -> String {
    let dims: Vec<String> =
        tensor.shape.iter().map(|dim| dim.map_or_else(|| "N".to_owned(), |size| size.to_string())).collect();
    format!("{} {} [{}]", tensor.name, tensor.element, dims.join(", "))
}
