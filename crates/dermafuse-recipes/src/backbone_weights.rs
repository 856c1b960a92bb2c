use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use dermafuse_backbones::BackboneKind;
use dermafuse_networks::{AnyNetwork, Modality, NetworkConfig, NetworkError};
use dermafuse_train::{RunFacts, file_digest};
use serde::{Deserialize, Serialize};

use crate::RecipeError;

/// The files of published weights that backbones start from.
///
/// As text, one file for all, or a file for each architecture:
///
/// ```
/// use dermafuse_backbones::BackboneKind;
/// use dermafuse_networks::{AsymmetricFusionConfig, NetworkConfig};
/// use dermafuse_recipes::BackboneWeights;
///
/// assert_eq!("resnet50.pth".parse::<BackboneWeights>()?, BackboneWeights::OfAll("resnet50.pth".into()));
/// let two: BackboneWeights = "mobilenet_v3_small=small.pth,swin_v2_t=big.pth".parse()?;
/// let network = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(vec![5]));
/// assert_eq!(network.backbones()[1], BackboneKind::SwinV2Tiny);
/// assert_eq!(two.file_of(&network, 1).unwrap().to_str(), Some("big.pth"));
/// # Ok::<(), dermafuse_recipes::UnknownBackboneWeights>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BackboneWeights {
    /// One file for all backbones.
    OfAll(PathBuf),
    /// The file of the backbone that looks at each image; a backbone without a file starts from random weights.
    ByView(BTreeMap<Modality, PathBuf>),
    /// The file of each architecture; other architectures start from random weights.
    ByArchitecture(BTreeMap<BackboneKind, PathBuf>),
}

impl BackboneWeights {
    /// The file for one of a network's backbones, clinical first; `None` if it starts from random weights. The only backbone of a
    /// network takes the file of the image that it looks at; if it looks at both, that of either.
    #[must_use]
    pub fn file_of(&self, config: &NetworkConfig, index: usize) -> Option<&Path> {
        let kind = *config.backbones().get(index)?;
        match self {
            Self::OfAll(file) => Some(file),
            Self::ByArchitecture(files) => files.get(&kind).map(PathBuf::as_path),
            Self::ByView(files) => match config.view_of(index) {
                Some(view) => files.get(&view).map(PathBuf::as_path),
                None => files.values().next().map(PathBuf::as_path),
            },
        }
    }

    /// The network, made from `config`, with the weights in its backbones.
    ///
    /// # Errors
    /// A file that cannot be read, or has other weights than the architecture; files for more than two backbones.
    pub fn load_into(&self, network: AnyNetwork, config: &NetworkConfig) -> Result<AnyNetwork, NetworkError> {
        let files: Vec<Option<&Path>> =
            (0..config.backbones().len()).map(|index| self.file_of(config, index)).collect();
        match files[..] {
            [Some(one), Some(other)] if one == other => network.load_backbone_weights(one),
            [_, _] => {
                let views = [Modality::Clinical, Modality::Dermoscopic].into_iter().enumerate();
                let views = views.map(|(index, view)| config.view_of(index).unwrap_or(view));
                let mut files = views.zip(files.iter().copied()).filter_map(|(view, file)| Some((view, file?)));
                files.try_fold(network, |network, (view, file)| network.load_backbone_weights_of(view, file))
            }
            [Some(file)] => match config.view_of(0) {
                Some(view) => network.load_backbone_weights_of(view, file),
                None => network.load_backbone_weights(file),
            },
            [_, _, _, ..] if files.iter().any(Option::is_some) => Err(NetworkError::Backbones { found: files.len() }),
            _ => Ok(network),
        }
    }

    /// Adds the SHA-256 of the file of each backbone of a network: it tells the weights wherever they lie.
    pub(crate) fn add_to(&self, facts: &mut RunFacts, config: &NetworkConfig) -> Result<(), RecipeError> {
        for (index, kind) in config.backbones().into_iter().enumerate() {
            if let Some(file) = self.file_of(config, index) {
                facts.set(&format!("weights.{}-{}", index + 1, kind.name()), &weights_fact(&file_digest(file)?));
            }
        }
        Ok(())
    }
}

/// How a file of weights is told among the facts of a run.
pub(crate) fn weights_fact(digest: &str) -> String {
    format!("SHA-256 {digest}")
}

impl From<PathBuf> for BackboneWeights {
    fn from(file: PathBuf) -> Self {
        Self::OfAll(file)
    }
}

impl fmt::Display for BackboneWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfAll(file) => write!(formatter, "{}", file.display()),
            Self::ByView(files) => {
                let files: Vec<String> =
                    files.iter().map(|(view, file)| format!("{view}={}", file.display())).collect();
                formatter.write_str(&files.join(","))
            }
            Self::ByArchitecture(files) => {
                let files: Vec<String> =
                    files.iter().map(|(backbone, file)| format!("{backbone}={}", file.display())).collect();
                formatter.write_str(&files.join(","))
            }
        }
    }
}

/// Text that names weights for no known architecture, or two files for one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {reason}; weights are one FILE for all backbones, or ARCHITECTURE=FILE,ARCHITECTURE=FILE")]
pub struct UnknownBackboneWeights {
    /// The part of the text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for BackboneWeights {
    type Err = UnknownBackboneWeights;

    fn from_str(text: &str) -> Result<Self, UnknownBackboneWeights> {
        if !text.contains('=') {
            return Ok(Self::OfAll(text.into()));
        }
        let mut files = BTreeMap::new();
        for part in text.split(',') {
            let error = |reason: String| UnknownBackboneWeights { text: part.to_owned(), reason };
            let (name, file) = part.split_once('=').ok_or_else(|| error("no architecture before the file".into()))?;
            let backbone: BackboneKind = name.parse().map_err(|unknown| error(format!("{unknown}")))?;
            if files.insert(backbone, PathBuf::from(file)).is_some() {
                return Err(error("a second file for this architecture".into()));
            }
        }
        Ok(Self::ByArchitecture(files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::{Device, Tensor};
    use dermafuse_networks::{AmfamConfig, AsymmetricFusionConfig};

    #[test]
    fn text_and_json_are_read_back() {
        for text in ["a/b.pth", "resnet18=x.pth,swin_t=y.safetensors"] {
            let weights: BackboneWeights = text.parse().unwrap();
            assert_eq!(weights.to_string(), text);
            let json = serde_json::to_string(&weights).unwrap();
            assert_eq!(serde_json::from_str::<BackboneWeights>(&json).unwrap(), weights, "{json}");
        }
        let message = |text: &str| text.parse::<BackboneWeights>().unwrap_err().to_string();
        assert!(message("resnet19=x.pth").starts_with("`resnet19=x.pth`: "), "{}", message("resnet19=x.pth"));
        assert!(message("resnet18=x.pth,y.pth").starts_with("`y.pth`: no architecture before the file; weights are"));
        assert!(message("swin_t=x,swin_t=y").starts_with("`swin_t=y`: a second file for this architecture"));
    }

    /// The mean of the first layer's weights of both backbones.
    fn means(network: &AnyNetwork) -> Vec<f32> {
        struct First(Option<f32>);
        impl burn::module::ModuleVisitor for First {
            fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
                self.0.get_or_insert_with(|| param.val().mean().into_scalar());
            }
        }
        let first = |backbone: &&dermafuse_backbones::AnyBackbone| {
            let mut first = First(None);
            backbone.visit(&mut first);
            first.0.unwrap()
        };
        network.backbones().iter().map(first).collect()
    }

    #[test]
    fn each_architecture_takes_its_own_file() {
        let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
        let (small, big) = (BackboneKind::ResNet18Quarter, BackboneKind::SqueezeNet);
        let file = |kind: BackboneKind| folder.path().join(kind.name());
        let config = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::new(small, big, None, vec![2]));
        let saved = config.init_seeded(1, &device).unwrap();
        for (kind, backbone) in [small, big].into_iter().zip(saved.backbones()) {
            backbone.clone().save_weights(file(kind)).unwrap();
        }
        let fresh = config.init_seeded(2, &device).unwrap();
        let load = |weights: BackboneWeights| weights.load_into(fresh.clone(), &config);
        let both = BackboneWeights::ByArchitecture([small, big].map(|kind| (kind, file(kind))).into());
        assert_eq!(means(&load(both).unwrap()), means(&saved));
        let one = BackboneWeights::ByArchitecture([(big, file(big))].into());
        assert_eq!(means(&load(one).unwrap()), [means(&fresh)[0], means(&saved)[1]]);
        assert!(load(file(big).into()).is_err(), "one file does not fit two architectures");
    }
    #[test]
    fn each_image_takes_its_own_file_in_any_order() {
        let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
        let views = [Modality::Dermoscopic, Modality::Clinical];
        let amfam = AmfamConfig::new(BackboneKind::ResNet18Quarter, vec![2]);
        let apart = AmfamConfig { views: views.to_vec(), shared_backbone: false, ..amfam };
        let config = NetworkConfig::Amfam(apart);
        let saved = config.init_seeded(1, &device).unwrap();
        let files = views.map(|view| (view, folder.path().join(view.name())));
        for ((_, file), backbone) in files.iter().zip(saved.backbones()) {
            backbone.clone().save_weights(file).unwrap();
        }
        assert_ne!(means(&saved)[0], means(&saved)[1]);
        let fresh = config.init_seeded(2, &device).unwrap();
        let loaded = BackboneWeights::ByView(files.into()).load_into(fresh, &config).unwrap();
        assert_eq!(means(&loaded), means(&saved));
    }
}
