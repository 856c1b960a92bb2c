use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use dermafuse_backbones::BackboneKind;
use dermafuse_networks::{Modality, NetworkConfig};
use dermafuse_settings::Settings;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::frozen::is_onnx;
use crate::{BackboneWeights, RecipeError};

const RANDOM: &str = "random";
const IMAGENET: &str = "imagenet";

/// What the backbones of a method start from. In a file: `"random"`, `"imagenet"`, a path, or a table of paths by image
/// (`clinical`, `dermoscopic`) or by architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartWeights {
    /// Random weights.
    Random,
    /// ImageNet's, as published with the method. Whoever runs it says where they are, or that random ones will do.
    Imagenet,
    /// Files.
    Files(BackboneWeights),
}

impl StartWeights {
    /// Makes paths absolute, so that they can be read from anywhere.
    pub(super) fn make_absolute(&mut self) {
        let absolute = |path: &mut PathBuf| {
            if let Ok(whole) = std::path::absolute(&*path) {
                *path = whole;
            }
        };
        match self {
            Self::Random | Self::Imagenet => {}
            Self::Files(BackboneWeights::OfAll(path)) => absolute(path),
            Self::Files(BackboneWeights::ByView(files)) => files.values_mut().for_each(absolute),
            Self::Files(BackboneWeights::ByArchitecture(files)) => files.values_mut().for_each(absolute),
        }
    }

    pub(super) fn resolve(&mut self, settings: &Settings) {
        let path_of = |key: &str, path: &Path| settings.path_of(key, path);
        match self {
            Self::Random | Self::Imagenet => {}
            Self::Files(BackboneWeights::OfAll(path)) => *path = path_of("method.weights", path),
            Self::Files(BackboneWeights::ByView(files)) => {
                files.iter_mut().for_each(|(view, path)| *path = path_of(&format!("method.weights.{view}"), path));
            }
            Self::Files(BackboneWeights::ByArchitecture(files)) => {
                files.iter_mut().for_each(|(kind, path)| *path = path_of(&format!("method.weights.{kind}"), path));
            }
        }
    }

    /// The files for a network; `None` for random weights. A folder stands for the published files in it.
    ///
    /// # Errors
    /// ImageNet's weights without files; a backbone without a file; a file that is not there.
    pub fn files(&self, network: &NetworkConfig) -> Result<Option<BackboneWeights>, RecipeError> {
        let kinds = network.backbones();
        if is_onnx(network) {
            return match self {
                Self::Files(BackboneWeights::OfAll(file)) if file.is_file() => {
                    Ok(Some(BackboneWeights::OfAll(file.clone())))
                }
                Self::Files(BackboneWeights::OfAll(file)) => {
                    Err(RecipeError::NoWeightsFile { file: file.clone(), backbone: "an ONNX encoder" })
                }
                _ => Err(RecipeError::NoEncoderFile),
            };
        }
        match self {
            Self::Random => Ok(None),
            _ if kinds.is_empty() => Ok(None),
            Self::Imagenet => Err(RecipeError::NoWeights { backbones: names(&kinds) }),
            Self::Files(BackboneWeights::OfAll(folder)) if folder.is_dir() => {
                let files = kinds.iter().map(|&kind| {
                    let published =
                        kind.published_weights().ok_or(RecipeError::NoWeights { backbones: names(&[kind]) })?;
                    let file = folder.join(published.file_name());
                    match file.is_file() {
                        true => Ok((kind, file)),
                        false => Err(RecipeError::NoWeightsFile { file, backbone: kind.name() }),
                    }
                });
                Ok(Some(BackboneWeights::ByArchitecture(files.collect::<Result<_, _>>()?)))
            }
            Self::Files(files) => {
                for (index, &kind) in kinds.iter().enumerate() {
                    match files.file_of(network, index) {
                        None => return Err(RecipeError::NoWeights { backbones: names(&[kind]) }),
                        Some(file) if !file.is_file() => {
                            return Err(RecipeError::NoWeightsFile { file: file.into(), backbone: kind.name() });
                        }
                        Some(_) => {}
                    }
                }
                Ok(Some(files.clone()))
            }
        }
    }
}

fn names(kinds: &[BackboneKind]) -> String {
    let mut names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    names.dedup();
    names.join(" and ")
}

impl Serialize for StartWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn entries<S: Serializer, K: fmt::Display>(
            files: &BTreeMap<K, PathBuf>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(files.len()))?;
            files.iter().try_for_each(|(key, file)| map.serialize_entry(&key.to_string(), file))?;
            map.end()
        }
        match self {
            Self::Random => serializer.serialize_str(RANDOM),
            Self::Imagenet => serializer.serialize_str(IMAGENET),
            Self::Files(BackboneWeights::OfAll(path)) => match path.to_str() {
                // A file of that name is told by its folder.
                Some(name @ (RANDOM | IMAGENET)) => serializer.serialize_str(&format!("./{name}")),
                _ => path.serialize(serializer),
            },
            Self::Files(BackboneWeights::ByView(files)) => entries(files, serializer),
            Self::Files(BackboneWeights::ByArchitecture(files)) => entries(files, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StartWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = StartWeights;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`random`, `imagenet`, a path, or a table of paths by image or architecture")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StartWeights, E> {
                Ok(match text {
                    RANDOM => StartWeights::Random,
                    IMAGENET => StartWeights::Imagenet,
                    path => StartWeights::Files(BackboneWeights::OfAll(path.into())),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StartWeights, A::Error> {
                let (mut by_view, mut by_architecture) = (BTreeMap::new(), BTreeMap::new());
                while let Some((key, file)) = map.next_entry::<String, PathBuf>()? {
                    match (key.parse::<Modality>(), key.parse::<BackboneKind>()) {
                        (Ok(view), _) => drop(by_view.insert(view, file)),
                        (_, Ok(kind)) => drop(by_architecture.insert(kind, file)),
                        (_, Err(unknown)) => {
                            let reason =
                                format!("weights are named by clinical, dermoscopic or an architecture; {unknown}");
                            return Err(A::Error::custom(reason));
                        }
                    }
                }
                match (by_view.is_empty(), by_architecture.is_empty()) {
                    (false, true) => Ok(StartWeights::Files(BackboneWeights::ByView(by_view))),
                    (true, false) => Ok(StartWeights::Files(BackboneWeights::ByArchitecture(by_architecture))),
                    (true, true) => Err(A::Error::custom("an empty table of weights")),
                    (false, false) => {
                        Err(A::Error::custom("weights are named by image or by architecture, not by both"))
                    }
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}
