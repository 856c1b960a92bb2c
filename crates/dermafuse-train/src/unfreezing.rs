use std::collections::BTreeMap;
use std::fmt;

use dermafuse_backbones::{BackboneKind, ParameterGroup};
use dermafuse_networks::Network;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// Training that begins with the heads alone and takes in the blocks of the backbones step by step, the last blocks first.
///
/// Paper: Nedelcu et al., section III-D, "frozen block approach". What is frozen stands still altogether: its batch
/// normalisation uses the running statistics and does not move them. Blocks that no step names never train.
///
/// ```
/// use dermafuse_backbones::{Backbone, BackboneKind};
/// use dermafuse_train::{Unfreezing, UnfreezingSteps};
///
/// let steps = UnfreezingSteps::new(&[&["layer4"], &["layer3"]]);
/// let unfreezing = Unfreezing { steps, epochs_per_step: 3, cumulative: true };
/// assert_eq!(unfreezing.epochs(), 9); // the heads, then two more blocks
/// assert_eq!(unfreezing.step(7), 2);
///
/// let groups = BackboneKind::ResNet18.init(None, &burn::tensor::Device::flex()).parameter_groups();
/// let training = |step: usize| -> Vec<&str> {
///     groups.iter().filter(|group| unfreezing.trains(step, group)).map(|group| group.name.as_str()).collect()
/// };
/// assert!(training(0).is_empty());
/// assert_eq!(training(1), ["layer4.0", "layer4.1"]);
/// assert_eq!(training(2), ["layer3.0", "layer3.1", "layer4.0", "layer4.1"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfreezing {
    /// The blocks that begin to train in each step after the first, in which the heads train alone.
    pub steps: UnfreezingSteps,
    /// Epochs of each step; 3 in the paper. Epochs beyond the last step go on with it.
    pub epochs_per_step: usize,
    /// Whether blocks that were unfrozen go on training; otherwise the blocks of each step train in it alone, with the heads.
    #[serde(default = "cumulative")]
    pub cumulative: bool,
}

/// The blocks of each step, by the names that [`ParameterGroup::is_in`] knows: a block (`layer4.1`), all blocks of a module
/// (`layer4`), or of a part (`stage4`). A step may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum UnfreezingSteps {
    /// Of whatever backbone the network has.
    OfAll(Vec<Vec<String>>),
    /// Of each backbone that is named. [`TrainingConfig::for_backbones`](crate::TrainingConfig::for_backbones) chooses, before
    /// anything trains.
    ByBackbone(BTreeMap<BackboneKind, Vec<Vec<String>>>),
}

fn cumulative() -> bool {
    true
}

impl UnfreezingSteps {
    /// The steps of whatever backbone the network has.
    #[must_use]
    pub fn new(steps: &[&[&str]]) -> Self {
        Self::OfAll(steps.iter().map(|blocks| blocks.iter().map(|&block| block.to_owned()).collect()).collect())
    }
}

impl<'de> Deserialize<'de> for UnfreezingSteps {
    /// Tells a list from a table by itself, so that an error is that of the form that was written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrTable;

        impl<'de> Visitor<'de> for ListOrTable {
            type Value = UnfreezingSteps;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of the blocks of each step, or a table of such lists by backbone")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(UnfreezingSteps::OfAll)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(table)).map(UnfreezingSteps::ByBackbone)
            }
        }

        deserializer.deserialize_any(ListOrTable)
    }
}

impl Unfreezing {
    /// The steps, none before those of a backbone are chosen.
    fn steps(&self) -> &[Vec<String>] {
        match &self.steps {
            UnfreezingSteps::OfAll(steps) => steps,
            UnfreezingSteps::ByBackbone(_) => &[],
        }
    }

    /// Epochs of all steps: the heads alone, then the blocks of each step.
    #[must_use]
    pub fn epochs(&self) -> usize {
        (self.steps().len() + 1) * self.epochs_per_step
    }

    /// The step of an epoch, both counted from 0; in step 0 the heads train alone.
    #[must_use]
    pub fn step(&self, epoch: usize) -> usize {
        (epoch / self.epochs_per_step.max(1)).min(self.steps().len())
    }

    /// Whether a block trains in a step.
    #[must_use]
    pub fn trains(&self, step: usize, block: &ParameterGroup) -> bool {
        let last = step.min(self.steps().len());
        let first = if self.cumulative { 0 } else { last.saturating_sub(1) };
        self.steps()[first..last].iter().flatten().any(|name| block.is_in(name))
    }

    /// The schedule for a network with these backbones.
    pub(crate) fn for_backbones(self, backbones: &[BackboneKind]) -> Result<Self, TrainError> {
        let UnfreezingSteps::ByBackbone(mut by_backbone) = self.steps else { return Ok(self) };
        let mut kinds = backbones.to_vec();
        kinds.dedup();
        let steps = match kinds[..] {
            [kind] => by_backbone.remove(&kind),
            _ => None,
        };
        let known = || by_backbone.keys().map(ToString::to_string).collect();
        let steps = steps.ok_or_else(|| TrainError::NoSteps { backbones: kinds, known: known() })?;
        Ok(Self { steps: UnfreezingSteps::OfAll(steps), ..self })
    }

    /// Freezes the blocks of a network that do not train in an epoch; none of them may be frozen for that before.
    pub(crate) fn apply<N: Network>(&self, network: N, epoch: usize) -> N {
        let step = self.step(epoch);
        let still = network.backbone_groups().into_iter().filter(|group| !self.trains(step, group));
        still.fold(network, |network, group| network.freeze_group(group.group))
    }

    /// # Errors
    /// A schedule that makes no training of the network.
    pub(crate) fn check(&self, epochs: usize, groups: &[ParameterGroup]) -> Result<(), TrainError> {
        let error = |setting, expected, found: String| Err(TrainError::Setting { setting, expected, found });
        if self.epochs_per_step == 0 {
            return error("unfreezing.epochs_per_step", "at least 1", "0".into());
        }
        if let UnfreezingSteps::ByBackbone(steps) = &self.steps {
            let names: Vec<&str> = steps.keys().map(|kind| kind.name()).collect();
            let found = format!("steps by backbone ({})", names.join(", "));
            return error("unfreezing.steps", "chosen for the network (`TrainingConfig::for_backbones`)", found);
        }
        let mut names = self.steps().iter().flatten();
        if let Some(unknown) = names.find(|name| !groups.iter().any(|group| group.is_in(name))) {
            return Err(TrainError::UnknownBlock { block: unknown.clone(), known: block_names(groups) });
        }
        if epochs < self.epochs() {
            let found = format!("{epochs}, where the steps of unfreezing take {}", self.epochs());
            return error("epochs", "enough for every step of unfreezing", found);
        }
        Ok(())
    }
}

/// The blocks of the backbones, each once; those of a module are one entry: `layer4.0 to layer4.2`.
fn block_names(groups: &[ParameterGroup]) -> Vec<String> {
    let module = |name: &str| name.rsplit_once('.').map(|(module, _)| module.to_owned());
    let mut entries: Vec<(&str, &str)> = Vec::new();
    for name in groups.iter().map(|group| group.name.as_str()) {
        match entries.last_mut() {
            Some((_, last)) if module(last).is_some() && module(last) == module(name) => *last = name,
            _ => entries.push((name, name)),
        }
    }
    let mut names: Vec<String> = Vec::new();
    for (first, last) in entries {
        let name = if first == last { first.to_owned() } else { format!("{first} to {last}") };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainingConfig;
    use burn::tensor::Device;
    use dermafuse_backbones::Backbone;

    fn by_backbone() -> TrainingConfig {
        let steps = [
            (BackboneKind::ResNet18, vec![vec!["layer4".to_owned()], vec!["layer3".to_owned()]]),
            (BackboneKind::Vgg16, vec![vec!["block5".to_owned()]]),
        ];
        let unfreezing =
            Unfreezing { steps: UnfreezingSteps::ByBackbone(steps.into()), epochs_per_step: 2, cumulative: false };
        TrainingConfig { epochs: 6, unfreezing: Some(unfreezing), ..TrainingConfig::as_released(32, 0) }
    }

    #[test]
    fn a_backbone_has_its_own_steps_and_as_many_epochs() {
        let chosen = |backbones: &[BackboneKind]| by_backbone().for_backbones(backbones);
        let resnet = chosen(&[BackboneKind::ResNet18; 2]).unwrap();
        assert_eq!(resnet.unfreezing.unwrap().steps, UnfreezingSteps::new(&[&["layer4"], &["layer3"]]));
        assert_eq!(resnet.epochs, 6);
        let vgg = chosen(&[BackboneKind::Vgg16]).unwrap();
        assert_eq!(vgg.unfreezing.as_ref().unwrap().steps, UnfreezingSteps::new(&[&["block5"]]));
        assert_eq!(vgg.epochs, 4);
        assert_eq!(
            vgg.clone().for_backbones(&[BackboneKind::SwinTiny]).unwrap(),
            vgg,
            "the steps of all are left alone"
        );
        assert_eq!(
            chosen(&[BackboneKind::DenseNet121]).unwrap_err().to_string(),
            "unfreezing.steps says nothing of densenet121, but of resnet18, vgg16; say \
             training.unfreezing.steps.densenet121 = [[\"BLOCK\", …], …], the last blocks first, or training.unfreezing = \"none\""
        );
        let two = chosen(&[BackboneKind::ResNet18, BackboneKind::Vgg16]).unwrap_err().to_string();
        assert!(two.contains("is by backbone, and the network has several (resnet18, vgg16)"), "{two}");
    }

    #[test]
    fn what_makes_no_schedule_is_refused() {
        let groups = BackboneKind::ResNet18.init(None, &Device::flex()).parameter_groups();
        let error = |unfreezing: &Unfreezing, epochs| unfreezing.check(epochs, &groups).unwrap_err().to_string();
        let chosen = by_backbone().for_backbones(&[BackboneKind::ResNet18]).unwrap().unfreezing.unwrap();
        assert!(chosen.check(6, &groups).is_ok());
        assert_eq!(
            error(&chosen, 5),
            "epochs must be enough for every step of unfreezing, found 5, where the steps of unfreezing take 6"
        );
        assert!(error(&by_backbone().unfreezing.unwrap(), 6).contains("steps by backbone (resnet18, vgg16)"));
        let steps = UnfreezingSteps::new(&[&["layer4.1"], &["layer3", "block12"]]);
        assert_eq!(
            error(&Unfreezing { steps, ..chosen.clone() }, 6),
            "unfreezing.steps names the block `block12`, which the backbone has not; its blocks are stem, layer1.0 to layer1.1, \
             layer2.0 to layer2.1, layer3.0 to layer3.1, layer4.0 to layer4.1, and what comes before a dot names all of them"
        );
        let half = UnfreezingSteps::new(&[&["layer"]]);
        assert!(
            error(&Unfreezing { steps: half, ..chosen }, 6).contains("`layer`"),
            "a name is no beginning of a name"
        );
    }

    #[test]
    fn a_list_and_a_table_are_told_apart() {
        let read = |text: &str| serde_json::from_str::<UnfreezingSteps>(text);
        assert_eq!(read(r#"[["layer4"], []]"#).unwrap(), UnfreezingSteps::new(&[&["layer4"], &[]]));
        let table = by_backbone().unfreezing.unwrap().steps;
        assert_eq!(read(&serde_json::to_string(&table).unwrap()).unwrap(), table);
        let error = |text| read(text).unwrap_err().to_string();
        assert!(error(r#"{"resnet_50": []}"#).contains("unknown variant `resnet_50`, expected one of `resnet18`"));
        assert!(error("4").contains("a list of the blocks of each step, or a table of such lists by backbone"));
    }
}
