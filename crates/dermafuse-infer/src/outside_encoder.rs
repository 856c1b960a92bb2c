//! The ONNX file of a model's encoder as a part of the ONNX file of its answer.

use std::sync::Arc;

use dermafuse_networks::{ImageLayout, OnnxEncoderConfig, TokenPooling};
use dermafuse_onnx::{Attribute, Dim, Graph, OnnxError, OutsideFile, OutsidePart, OutsideTensor, Value, Values};

use crate::onnx_encoder::chosen;
use crate::{EngineError, InferError, OnnxTensor};

/// Adds an encoder to a graph: images `[B, 3, S, S]` of each kind, normalised, become features `[B, ΣD]`. They are given one by one, as
/// by an engine: a file need not take several images, and one that does may not give them features of their own.
///
/// # Errors
/// A file that cannot be a part of another one, with the reason.
pub(crate) fn encoded(
    graph: &mut Graph,
    config: &OnnxEncoderConfig,
    file: &[u8],
    images: &[Value],
) -> Result<Value, InferError> {
    let (part, rank) = part_of(config, file)?;
    let part = Arc::new(part);
    let batch = graph.shape(images[0])[0];
    let together = graph.concat(images, 0); // [k · B, 3, S, S]
    let features = graph.each(together, |graph, image| features_of(graph, config, &part, rank, image)); // [k · B, D]
    let width = Dim::Fixed(config.features);
    let apart = graph.reshape(features, vec![Dim::Fixed(images.len()), batch, width]); // [k, B, D]
    let of_each: Vec<Value> = (0..images.len())
        .map(|at| {
            let own = graph.slice(apart, 0, at..at + 1);
            graph.reshape(own, vec![batch, width])
        })
        .collect();
    Ok(graph.concat(&of_each, 1))
}

/// What lies between the input and the output that are named, and how many dimensions the output has.
fn part_of(config: &OnnxEncoderConfig, file: &[u8]) -> Result<(OutsidePart, usize), InferError> {
    let file = OutsideFile::from_bytes(file).map_err(OnnxError::from)?;
    let named = |tensors: &[OutsideTensor]| -> Vec<OnnxTensor> {
        let of = |tensor: &OutsideTensor| OnnxTensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone().unwrap_or_default(),
        };
        tensors.iter().map(of).collect()
    };
    let (inputs, outputs): (Vec<OutsideTensor>, Vec<OutsideTensor>) =
        (file.inputs().collect(), file.outputs().collect());
    let input = chosen("input", config.input.as_deref(), &named(&inputs))?.name.clone();
    let output = chosen("output", config.output.as_deref(), &named(&outputs))?.name.clone();
    let shape = outputs.into_iter().find(|tensor| tensor.name == output).and_then(|tensor| tensor.shape);
    let rank = shape.map(|shape| shape.len()).filter(|rank| (2..=4).contains(rank));
    let rank = rank.ok_or_else(|| EngineError::EncoderRank { output: output.clone() })?;
    Ok((file.part(&input, &output).map_err(OnnxError::from)?, rank))
}

/// `[3, S, S]` → `[D]`, as an engine's encoder has it.
fn features_of(
    graph: &mut Graph,
    config: &OnnxEncoderConfig,
    part: &Arc<OutsidePart>,
    rank: usize,
    image: Value,
) -> Value {
    let image = match config.layout {
        ImageLayout::Nchw => image,
        ImageLayout::Nhwc => graph.transpose(image, &[1, 2, 0]),
    };
    let one: Vec<Dim> = std::iter::once(Dim::Fixed(1)).chain(graph.shape(image).iter().copied()).collect();
    let image = graph.reshape(image, one); // [1, …]
    let (one, width) = (Dim::Fixed(1), Dim::Fixed(config.features));
    // How many tokens there are, or how large a map is, is nothing that a mean or the first of them looks at.
    let features = match rank {
        2 => graph.outside(part, image, vec![one, width]),
        3 => {
            let tokens = graph.outside(part, image, vec![one, one, width]); // [1, T, D]
            match config.tokens {
                TokenPooling::Mean => graph.reduce("ReduceMean", tokens, &[1]),
                TokenPooling::First => {
                    let first = graph.constant(Values::I64(vec![0]), &[1]);
                    let (element, shape) = (graph.element(tokens), vec![one, one, width]);
                    graph.node("Gather", &[tokens, first], vec![("axis", Attribute::Int(1))], element, shape)
                }
            }
        }
        _ => {
            let map = graph.outside(part, image, vec![one, width, one, one]); // [1, D, H, W]
            graph.reduce("ReduceMean", map, &[2, 3])
        }
    };
    graph.reshape(features, vec![width])
}
