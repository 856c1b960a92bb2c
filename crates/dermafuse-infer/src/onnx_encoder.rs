//! An ONNX file of somebody else that encodes images.

use std::sync::Arc;

use burn::tensor::Tensor;
use dermafuse_networks::{ImageLayout, OnnxEncoderConfig, TokenPooling};
use dermafuse_schema::EngineFacts;
use ndarray::{Array2, ArrayD, ArrayView4, Axis, Ix2, Ix3, Ix4};

use crate::{Engine, EngineError, ImageEncoder, OnnxSession, OnnxTensor, sha256_hex};

/// A file in an engine, with the names by which it is asked.
#[derive(Debug)]
pub(crate) struct OnnxEncoder {
    session: Arc<dyn OnnxSession>,
    input: String,
    output: String,
    layout: ImageLayout,
    tokens: TokenPooling,
    features: usize,
    identity: String,
}

impl OnnxEncoder {
    /// Opens a file and asks it about one image of zeros, so that all that can be wrong with its names and shapes is found.
    ///
    /// # Errors
    /// A name that no engine has; a library that is absent; a file that it does not accept; several inputs, or several outputs of which none
    /// is named; a name that the file does not have; shapes that do not fit.
    pub(crate) fn open(config: &OnnxEncoderConfig, file: &[u8], side: usize) -> Result<Self, EngineError> {
        let engine: Engine = config.engine.parse()?;
        let session = engine.open(file)?;
        Self::new(config, session, &sha256_hex(file), side)
    }

    /// The same in a session.
    pub(crate) fn new(
        config: &OnnxEncoderConfig,
        session: Arc<dyn OnnxSession>,
        sha256: &str,
        side: usize,
    ) -> Result<Self, EngineError> {
        let input = chosen("input", config.input.as_deref(), session.inputs())?;
        if let [_, _, ..] = session.inputs() {
            // The others would have to be given, too.
            return Err(EngineError::EncoderInputs { found: listed(session.inputs()) });
        }
        let sides = match config.layout {
            ImageLayout::Nchw => [1, 3, side, side],
            ImageLayout::Nhwc => [1, side, side, 3],
        };
        if !input.allows(&sides) {
            return Err(EngineError::EncoderImages { input: input.to_string(), sides });
        }
        let output = chosen("output", config.output.as_deref(), session.outputs())?.name.clone();
        let (input, facts) = (input.name.clone(), session.facts());
        // Digits depend on what computes them, and on what is made of the output.
        let words = [
            sha256.to_owned(),
            input.clone(),
            output.clone(),
            format!("{:?}", config.layout),
            format!("{:?}", config.tokens),
            facts.name.clone(),
            facts.version.clone(),
            facts.precision.clone(),
        ];
        let identity = words.join(":").replace(char::is_whitespace, "_");
        let (layout, tokens) = (config.layout, config.tokens);
        let mut encoder = Self { session, input, output, layout, tokens, features: 0, identity };
        let zeros = ndarray::Array4::<f32>::zeros((1, 3, side, side));
        encoder.features = encoder.encode_one(zeros.view())?.len();
        if config.features != 0 && config.features != encoder.features {
            let (found, expected) = (format!("{} features", encoder.features), format!("{}", config.features));
            return Err(encoder.refused(found, expected));
        }
        Ok(encoder)
    }

    pub(crate) fn facts(&self) -> &EngineFacts {
        self.session.facts()
    }

    fn refused(&self, found: String, expected: String) -> EngineError {
        EngineError::Shape {
            engine: self.facts().to_string(),
            what: format!("as output `{}` of the encoder", self.output),
            found,
            expected,
        }
    }

    /// `[1, 3, S, S]` → `[D]`. One image at a time: libraries choose the order of sums by the size of a batch, and no case's numbers may
    /// depend on its neighbours.
    fn encode_one(&self, image: ArrayView4<'_, f32>) -> Result<Vec<f32>, EngineError> {
        let image = match self.layout {
            ImageLayout::Nchw => image,
            ImageLayout::Nhwc => image.permuted_axes([0, 2, 3, 1]),
        };
        let image = image.as_standard_layout();
        let given = [(self.input.as_str(), image.view().into_dyn())];
        let output = self.session.run(&given, &[self.output.as_str()])?.pop();
        let output: ArrayD<f32> = output.ok_or_else(|| self.refused("nothing".into(), "features".into()))?;
        let shape = output.shape().to_vec();
        let refused = || {
            let expected = "[1, D] features, a map [1, D, H, W] or tokens [1, T, D] of one image";
            self.refused(format!("an output of the shape {shape:?}"), expected.into())
        };
        if shape.first() != Some(&1) || shape.contains(&0) {
            return Err(refused());
        }
        let features = match shape.len() {
            2 => output.into_dimensionality::<Ix2>().map_err(|_| refused())?.row(0).to_vec(),
            3 => {
                let tokens = output.into_dimensionality::<Ix3>().map_err(|_| refused())?; // [1, T, D]
                let tokens = tokens.index_axis(Axis(0), 0);
                match self.tokens {
                    TokenPooling::First => tokens.row(0).to_vec(),
                    TokenPooling::Mean => tokens.mean_axis(Axis(0)).ok_or_else(refused)?.to_vec(),
                }
            }
            4 => {
                let map = output.into_dimensionality::<Ix4>().map_err(|_| refused())?; // [1, D, H, W]
                map.index_axis(Axis(0), 0).outer_iter().map(|channel| channel.mean().unwrap_or(0.0)).collect()
            }
            _ => return Err(refused()),
        };
        Ok(features)
    }
}

impl ImageEncoder for OnnxEncoder {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn features(&self) -> usize {
        self.features
    }

    fn encode(&self, images: Tensor<4>) -> Result<Array2<f32>, EngineError> {
        let shape = images.dims();
        let values: Vec<f32> = images.into_data().iter::<f32>().collect();
        let images = ArrayView4::from_shape(shape, &values).expect("a tensor has as many values as its shape says");
        let mut features = Array2::zeros((shape[0], self.features));
        for (image, mut row) in images.axis_chunks_iter(Axis(0), 1).zip(features.rows_mut()) {
            let own = self.encode_one(image)?;
            if own.len() != self.features {
                return Err(self.refused(format!("{} features", own.len()), self.features.to_string()));
            }
            row.iter_mut().zip(own).for_each(|(to, value)| *to = value);
        }
        Ok(features)
    }
}

/// The input or output of a name, or the only one.
pub(crate) fn chosen<'a>(
    what: &'static str,
    name: Option<&str>,
    known: &'a [OnnxTensor],
) -> Result<&'a OnnxTensor, EngineError> {
    let found = match (name, known) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(name), _) => known.iter().find(|tensor| tensor.name == name),
    };
    let asked = name.map(str::to_owned);
    found.ok_or_else(|| EngineError::EncoderName { what, asked, known: listed(known) })
}

fn listed(tensors: &[OnnxTensor]) -> String {
    tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use ndarray::{ArrayViewD, IxDyn};

    /// Gives numbers that tell how it was asked.
    #[derive(Debug)]
    struct Stub {
        facts: EngineFacts,
        inputs: Vec<OnnxTensor>,
        outputs: Vec<OnnxTensor>,
        shape: Vec<usize>,
    }

    fn tensor(name: &str, shape: &[Option<usize>]) -> OnnxTensor {
        OnnxTensor { name: name.into(), shape: shape.to_vec() }
    }

    fn stub(shape: &[usize]) -> Stub {
        Stub {
            facts: EngineFacts { name: "Stub".into(), version: "1".into(), precision: "f32".into() },
            inputs: vec![tensor("pixels", &[None, None, None, None])],
            outputs: vec![tensor("features", &[None, None])],
            shape: shape.to_vec(),
        }
    }

    impl OnnxSession for Stub {
        fn facts(&self) -> &EngineFacts {
            &self.facts
        }

        fn inputs(&self) -> &[OnnxTensor] {
            &self.inputs
        }

        fn outputs(&self) -> &[OnnxTensor] {
            &self.outputs
        }

        fn run(
            &self,
            inputs: &[(&str, ArrayViewD<'_, f32>)],
            outputs: &[&str],
        ) -> Result<Vec<ArrayD<f32>>, EngineError> {
            assert_eq!((inputs.len(), outputs.len(), inputs[0].0), (1, 1, "pixels"));
            let first: Vec<f32> = inputs[0].1.iter().take(4).copied().collect();
            let count: usize = self.shape.iter().product();
            let values = (0..count).map(|at| at as f32 + first.iter().sum::<f32>()).collect();
            Ok(vec![ArrayD::from_shape_vec(IxDyn(&self.shape), values).unwrap()])
        }
    }

    fn open(config: &OnnxEncoderConfig, stub: Stub) -> Result<OnnxEncoder, EngineError> {
        OnnxEncoder::new(config, Arc::new(stub), "abc", 2)
    }

    /// Two images of 2 × 2: planes 0, 1, 2 of the first and 10, 11, 12 of the second.
    fn images() -> Tensor<4> {
        let values: Vec<f32> = (0..24).map(|at| (at / 4 % 3) as f32 + if at < 12 { 0.0 } else { 10.0 }).collect();
        Tensor::from_data(TensorData::new(values, [2, 3, 2, 2]), &Device::flex())
    }

    #[test]
    fn features_maps_and_tokens_become_rows() {
        let of = |shape: &[usize], config: &OnnxEncoderConfig| {
            let encoder = open(config, stub(shape)).unwrap();
            let rows = encoder.encode(images()).unwrap();
            assert_eq!((encoder.features(), rows.dim()), (rows.ncols(), (2, rows.ncols())));
            rows.row(0).to_vec()
        };
        let plain = OnnxEncoderConfig::default();
        assert_eq!(of(&[1, 3], &plain), [0.0, 1.0, 2.0]);
        assert_eq!(of(&[1, 2, 3], &plain), [1.5, 2.5, 3.5]);
        assert_eq!(of(&[1, 3, 1, 2], &plain), [0.5, 2.5, 4.5]);
        let first = OnnxEncoderConfig { tokens: TokenPooling::First, ..plain.clone() };
        assert_eq!(of(&[1, 2, 3], &first), [0.0, 1.0, 2.0]);
        // The first pixel has 0, 1 and 2, the second begins with 0.
        let nhwc = OnnxEncoderConfig { layout: ImageLayout::Nhwc, ..plain.clone() };
        assert_eq!(of(&[1, 3], &nhwc), [3.0, 4.0, 5.0]);
        let identity = |config| open(config, stub(&[1, 3])).unwrap().identity().to_owned();
        assert_ne!(identity(&plain), identity(&nhwc));
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_is_there() {
        let error = |config: &OnnxEncoderConfig, stub: Stub| open(config, stub).unwrap_err().to_string();
        let plain = OnnxEncoderConfig::default();
        let named = OnnxEncoderConfig { input: Some("image".into()), ..plain.clone() };
        let message = error(&named, stub(&[1, 3]));
        assert!(message.contains("no input `image`; it has pixels [N, N, N, N]"), "{message}");
        let two = Stub {
            outputs: vec![tensor("map", &[None, Some(8), None, None]), tensor("pooled", &[None, Some(8)])],
            ..stub(&[1, 3])
        };
        let message = error(&plain, two);
        assert!(message.contains("several outputs: map [N, 8, N, N], pooled [N, 8]; name one"), "{message}");
        let mut inputs = stub(&[1, 3]).inputs;
        inputs.push(tensor("mask", &[None]));
        let both = OnnxEncoderConfig { input: Some("pixels".into()), ..plain.clone() };
        let message = error(&both, Stub { inputs, ..stub(&[1, 3]) });
        assert!(message.contains("more than images: pixels [N, N, N, N], mask [N]"), "{message}");
        let fixed = Stub { inputs: vec![tensor("pixels", &[None, Some(3), Some(224), Some(224)])], ..stub(&[1, 3]) };
        let message = error(&plain, fixed);
        assert!(
            message.contains("pixels [N, 3, 224, 224]") && message.contains("training.preprocess.size"),
            "{message}"
        );
        let message = error(&plain, stub(&[2, 3]));
        assert!(message.contains("of the shape [2, 3]"), "{message}");
        let other = OnnxEncoderConfig { features: 7, ..plain.clone() };
        assert!(error(&other, stub(&[1, 3])).contains("3 features instead of 7"));
        let unknown = OnnxEncoderConfig { engine: "tensorrt".into(), ..plain };
        let message = OnnxEncoder::open(&unknown, b"", 2).unwrap_err().to_string();
        assert!(message.contains("there is no engine `tensorrt`"), "{message}");
    }
}
