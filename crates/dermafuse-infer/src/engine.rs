use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use crate::EngineError;

/// What runs a model's network. Without a word it is Burn, which is part of the program and needs nothing; the others are libraries of
/// the machine that are loaded when they are asked for, and are several times faster on a CPU.
///
/// As text it is a name, and maybe settings after a colon: `burn`, `onnxruntime`, `openvino:precision=bf16,threads=4`. A path may have
/// commas and comes last: `onnxruntime:threads=2,library=/opt/lib/libonnxruntime.so.1.32.0`.
///
/// ```
/// use dermafuse_infer::{Engine, EngineSettings, Precision};
///
/// let engine: Engine = "openvino:precision=bf16,threads=4".parse()?;
/// let settings = EngineSettings { threads: 4.try_into().ok(), precision: Precision::Bf16, ..EngineSettings::default() };
/// assert_eq!(engine, Engine::OpenVino(settings));
/// assert_eq!(engine.to_string(), "openvino:threads=4,precision=bf16");
/// # Ok::<(), dermafuse_infer::EngineError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Burn, on the device that the model was opened on.
    #[default]
    Burn,
    /// ONNX Runtime on the CPU; needs the Cargo feature `onnxruntime`.
    OnnxRuntime(EngineSettings),
    /// OpenVINO on the CPU; needs the Cargo feature `openvino`.
    OpenVino(EngineSettings),
}

/// How a library that runs networks is found and used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSettings {
    /// Its file, or the folder that has it; `None` looks where it usually is.
    pub library: Option<PathBuf>,
    /// Threads of one forward pass; `None` leaves it to the library, which takes one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Cases in one forward pass; `None` leaves it to who asks. It changes speed and memory, and last digits.
    pub batch_size: Option<NonZeroUsize>,
    /// The numbers that it computes with.
    pub precision: Precision,
}

/// The numbers that an engine computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats: probabilities as Burn's to about five digits.
    #[default]
    F32,
    /// 16-bit floats with 8 bits of fraction, for processors that have instructions for them (AVX-512 BF16, AMX): faster, and
    /// probabilities change in the second or third digit. `dermafuse check-engine` measures what that does to a model.
    Bf16,
    /// 8-bit integers in the convolutions and matrix products for which the model has [ranges](crate::ActivationRanges), 32-bit floats
    /// elsewhere: for models that `dermafuse quantise` measured. Probabilities change more than in `Bf16`.
    Int8,
}

impl Engine {
    /// The words for all of them.
    pub const NAMES: [&'static str; 3] = ["burn", "onnxruntime", "openvino"];

    /// The word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Burn => Self::NAMES[0],
            Self::OnnxRuntime(_) => Self::NAMES[1],
            Self::OpenVino(_) => Self::NAMES[2],
        }
    }

    /// The settings of a library; `None` of Burn.
    #[must_use]
    pub fn settings(&self) -> Option<&EngineSettings> {
        match self {
            Self::Burn => None,
            Self::OnnxRuntime(settings) | Self::OpenVino(settings) => Some(settings),
        }
    }
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Engine {
    /// As it is parsed.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        let settings = self.settings().map(EngineSettings::words).unwrap_or_default();
        if settings.is_empty() { Ok(()) } else { write!(formatter, ":{}", settings.join(",")) }
    }
}

impl EngineSettings {
    /// Those that are not the defaults, as `KEY=VALUE`.
    fn words(&self) -> Vec<String> {
        let threads = self.threads.map(|threads| format!("threads={threads}"));
        let batch = self.batch_size.map(|cases| format!("batch={cases}"));
        let precision = (self.precision != Precision::default()).then(|| format!("precision={}", self.precision));
        let library = self.library.as_ref().map(|path| format!("library={}", path.display()));
        [threads, batch, precision, library].into_iter().flatten().collect()
    }

    fn parse(engine: &str, mut text: &str) -> Result<Self, EngineError> {
        let mut settings = Self::default();
        let mut given: Vec<&str> = Vec::new();
        while !text.is_empty() {
            // What follows a path is part of it.
            let (word, rest) = match text.starts_with("library=") {
                true => (text, ""),
                false => text.split_once(',').unwrap_or((text, "")),
            };
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let refused = |expected: &str| EngineError::Setting {
                engine: engine.into(),
                setting: key.into(),
                found: value.into(),
                expected: expected.into(),
            };
            if given.contains(&key) {
                return Err(refused("given once"));
            }
            let number = || value.parse().map(Some).map_err(|_| refused("a whole number from 1"));
            match key {
                "threads" => settings.threads = number()?,
                "batch" => settings.batch_size = number()?,
                "precision" => {
                    let known = Precision::ALL.into_iter().find(|precision| precision.name() == value);
                    settings.precision = known.ok_or_else(|| refused("f32, bf16 or int8"))?;
                }
                "library" if value.is_empty() => return Err(refused("a file or a folder")),
                "library" => settings.library = Some(value.into()),
                _ => return Err(refused("one of threads=N, batch=N, precision=f32, bf16 or int8, library=PATH")),
            }
            given.push(key);
            text = rest;
        }
        Ok(settings)
    }
}

impl FromStr for Engine {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        match name {
            "burn" if settings.is_empty() => Ok(Self::Burn),
            "burn" => Err(EngineError::Setting {
                engine: "burn".into(),
                setting: settings.into(),
                found: String::new(),
                expected: "left out: Burn has no settings here, and its device is chosen with --device".into(),
            }),
            "onnxruntime" => Ok(Self::OnnxRuntime(EngineSettings::parse(name, settings)?)),
            "openvino" => Ok(Self::OpenVino(EngineSettings::parse(name, settings)?)),
            _ => Err(EngineError::Unknown { found: name.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_read_as_they_are_written() {
        for text in [
            "burn",
            "onnxruntime",
            "openvino:threads=2,batch=8,precision=bf16,library=/opt/a,b/libopenvino_c.so",
            "onnxruntime:library=C:\\lib\\onnxruntime.dll",
        ] {
            assert_eq!(text.parse::<Engine>().unwrap().to_string(), text);
        }
        assert_eq!("openvino:precision=f32".parse::<Engine>().unwrap(), Engine::OpenVino(EngineSettings::default()));
    }

    #[test]
    fn what_is_no_engine_is_told_what_is() {
        let error = |text: &str| text.parse::<Engine>().unwrap_err().to_string();
        assert_eq!(
            error("tensorrt"),
            "there is no engine `tensorrt`; the engines are burn, onnxruntime, openvino, and settings follow a colon, such as \
             `openvino:precision=bf16,threads=4`"
        );
        assert_eq!(error("openvino:threads=0"), "engine openvino: `threads=0` must be a whole number from 1");
        assert_eq!(error("openvino:precision=i8"), "engine openvino: `precision=i8` must be f32, bf16 or int8");
        assert!(error("onnxruntime:thread=2").contains("one of threads=N"));
        assert!(error("onnxruntime:threads=2,threads=3").contains("given once"));
        assert!(error("onnxruntime:library=").contains("a file or a folder"));
        assert!(error("burn:threads=2").contains("--device"));
    }
}
