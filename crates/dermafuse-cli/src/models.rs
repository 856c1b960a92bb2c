//! The verb `models`.

use std::collections::BTreeSet;

use burn::tensor::Device;
use clap::Args;
use dermafuse::backbones::{BackboneKind, parameter_count};
use dermafuse::fusion::{FusionKind, MapFusionKind};
use dermafuse::networks::{
    ImageClassifierConfig, JointFusionConfig, JointIndividualFusionConfig, Modality, NetworkConfig, NetworkError,
    NetworkKind,
};
use dermafuse::recipes::Recipe;
use serde_json::json;

use crate::device::DeviceArgument;
use crate::failure::{Failure, ProgramResult};
use crate::installed::{self, Action, installed_json, print_installed};
use crate::terminal::{print_result, say, say_part};

/// List the installed models, the built-in architectures, and the networks of the papers with their sizes.
///
/// It also says what the published weights of an architecture are, and what fusing with a record adds to it. `models add` installs a
/// model under a name, `models remove` takes it away.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

pub(crate) fn models(arguments: &Arguments) -> ProgramResult {
    if let Some(action) = &arguments.action {
        return installed::run(action);
    }
    let device = arguments.device.device()?;
    if arguments.json {
        let backbones: Vec<_> = BackboneKind::ALL.into_iter().map(description).collect();
        let networks =
            listed_networks()?.iter().map(|listed| listed.description(&device)).collect::<Result<Vec<_>, _>>()?;
        let kinds = NetworkKind::ALL.map(|kind| json!({ "name": kind.name(), "description": kind.description() }));
        let text = serde_json::to_string_pretty(&json!({
            "installed": installed_json()?,
            "backbones": backbones,
            "fusion_modules": FusionKind::ALL,
            "map_fusion_modules": MapFusionKind::ALL,
            "network_kinds": kinds,
            "networks": networks,
        }))?;
        return print_result(&(text + "\n"));
    }
    print_installed()?;
    let header = ["parameters", "no classifier", "GMACs", "trained at", "stage channels", "keys"];
    say!(
        "{:<20}{:>12}{:>15}{:>8}{:>12}  {:<22}{:<12}licence of the published weights",
        "name",
        header[0],
        header[1],
        header[2],
        header[3],
        header[4],
        header[5]
    );
    for kind in BackboneKind::ALL {
        let channels = kind.stage_channels().map(|channels| channels.to_string()).join(" ");
        say!(
            "{:<20}{:>12}{:>15}{:>8.3}{:>9} px  {:<22}{:<12}{}",
            kind.name(),
            kind.num_params(),
            kind.num_params_without_classifier(),
            kind.gflops(),
            kind.published_input().size,
            channels,
            format!("{:?}", kind.key_style()).to_lowercase(),
            kind.published_weights().map_or("none published", |weights| weights.licence),
        );
    }
    print_fusions(&device)?;
    say!("\nmodules for feature maps: {}", MapFusionKind::ALL.join(", "));
    print_kinds();
    print_networks(&device)
}

fn print_kinds() {
    say!("\nnetworks, as `method.network.kind` of an experiment names them\n");
    for kind in NetworkKind::ALL {
        say!("{kind:<26}{}", kind.description());
    }
}

/// The five backbones of the comparison of fusion modules (thesis ch. 4), in the order of its tables.
const COMPARED: [BackboneKind; 5] = [
    BackboneKind::DenseNet121,
    BackboneKind::MobileNetV2,
    BackboneKind::ResNet50,
    BackboneKind::EfficientNetB3,
    BackboneKind::Xception,
];
/// Encoded metadata columns and classes of PAD-UFES-20.
const RECORD: usize = 81;
const CLASSES: usize = 6;

/// Parameters that joint-individual fusion adds to an image classifier.
fn added(backbone: BackboneKind, fusion: FusionKind, device: &Device) -> Result<usize, NetworkError> {
    let (view, classes) = (Modality::Clinical, vec![CLASSES]);
    let image = NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, view, classes.clone()));
    let joint = JointFusionConfig::new(backbone, view, RECORD, fusion, classes);
    let joint = NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint));
    let count = |config: &NetworkConfig| Ok::<usize, NetworkError>(parameter_count(&config.init(device)?));
    Ok(count(&joint)? - count(&image)?)
}

fn print_fusions(device: &Device) -> ProgramResult {
    say!("\nparameters that JIF adds to an image classifier ({RECORD} metadata columns, {CLASSES} classes)\n");
    say_part!("{:<24}", "fusion module");
    COMPARED.iter().for_each(|backbone| say_part!("{:>17}", backbone.name()));
    say!();
    for name in FusionKind::ALL {
        say_part!("{name:<24}");
        for backbone in COMPARED {
            say_part!("{:>17}", added(backbone, name.parse()?, device)?);
        }
        say!();
    }
    Ok(())
}

/// A network of a paper, on the eight tasks of Derm7pt.
struct Listed {
    paper: &'static str,
    name: String,
    network: NetworkConfig,
    /// Millions of parameters as printed there.
    published: Option<f64>,
}

/// Classes of Derm7pt's tasks.
const DERM7PT: [usize; 8] = [5, 3, 3, 3, 2, 3, 2, 3];
/// Encoded metadata columns of Derm7pt.
const DERM7PT_RECORD: usize = 20;

impl Listed {
    /// A row of a recipe, or the method itself, with words that change it.
    fn of(recipe: &str, row: Option<&str>, words: &[&str]) -> Result<NetworkConfig, Failure> {
        let mut recipe = Recipe::named(recipe)?;
        for words in words {
            recipe.set(words)?;
        }
        let experiment = match row {
            Some(row) => recipe.experiment_of(recipe.row(row)?)?,
            None => recipe.experiment()?,
        };
        Ok(experiment.method.network.inference().with_classes(DERM7PT.to_vec()).with_metadata_inputs(DERM7PT_RECORD))
    }
}

fn listed_networks() -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    let mut add = |paper, name: &str, network, published| {
        listed.push(Listed { paper, name: name.to_owned(), network, published });
    };
    add("FusionM4Net", "FusionNet RN50", Listed::of("fusionm4net", None, &[])?, Some(54.45));
    for (paper, recipe, backbone) in [("AMMFM", "ammfm", ""), ("PEMM", "pemm", " ST")] {
        // Several tables print one method, and other methods are printed that the recipe has no row of.
        let known = Recipe::named(recipe)?;
        let mut named = BTreeSet::new();
        let printed = known.published().iter().flat_map(|table| &table.rows).filter(|row| row.parameters.is_some());
        for row in printed.filter(|row| known.row(&row.name).is_ok()) {
            if named.insert(row.name.as_str()) {
                let network = Listed::of(recipe, Some(&row.name), &[])?;
                add(paper, &format!("{}{backbone}", row.name), network, row.parameters);
            }
        }
    }
    for (backbone, short) in [("resnet50", "RN50"), ("convnext_tiny", "CXT"), ("densenet201", "DN201")] {
        let network = Listed::of("pemm", None, &[&format!("method.network.backbone={backbone}")])?;
        add("PEMM", &format!("PS+SCA+BL {short}"), network, None);
    }
    add("AMFAM", "one backbone RN50", Listed::of("amfam", None, &[])?, None);
    let two = ["method.network.shared_backbone=false"];
    add("AMFAM", "two backbones RN50", Listed::of("amfam", None, &two)?, None);
    add("Yap et al.", "EmbeddingNet RN50", Listed::of("embedding_net", None, &[])?, None);
    add("Kawahara et al.", "Inception-V3 pair", Listed::of("modality_subsets", None, &[])?, None);
    add("Bi et al.", "HcCNN RN50", Listed::of("hc_cnn", None, &[])?, None);
    add("He et al.", "CAFNet RN50", Listed::of("caf_net", None, &[])?, None);
    add("Ge et al.", "TripleNet VGG-16", Listed::of("triple_net", None, &[])?, None);
    // Its code leaves a classifier of 128 classes in the backbone.
    add("TFormer", "images", Listed::of("tformer", Some("images"), &[])?, Some(77.76));
    add("TFormer", "images and record", Listed::of("tformer", None, &[])?, None);
    Ok(listed)
}

impl Listed {
    /// Parameters, and with the backbones' ImageNet classifiers.
    fn sizes(&self, device: &Device) -> Result<[usize; 2], NetworkError> {
        let own = parameter_count(&self.network.init(device)?);
        Ok([own, self.network.parameter_count_with_classifiers(device)?])
    }

    fn description(&self, device: &Device) -> Result<serde_json::Value, NetworkError> {
        let [own, with_classifiers] = self.sizes(device)?;
        Ok(json!({
            "paper": self.paper,
            "name": self.name,
            "parameters": own,
            "parameters_with_classifiers": with_classifiers,
            "published_millions": self.published,
        }))
    }
}

fn print_networks(device: &Device) -> ProgramResult {
    say!(
        "\nnetworks of the papers for Derm7pt's eight tasks; papers count the ImageNet classifiers too, which nothing uses\n"
    );
    say!("{:<18}{:<26}{:>12}{:>18}{:>14}", "paper", "network", "parameters", "with classifiers", "published, M");
    for listed in listed_networks()? {
        let [own, with_classifiers] = listed.sizes(device)?;
        let published = listed.published.map_or_else(String::new, |millions| format!("{millions:.2}"));
        say!("{:<18}{:<26}{own:>12}{with_classifiers:>18}{published:>14}", listed.paper, listed.name);
    }
    Ok(())
}

fn description(kind: BackboneKind) -> serde_json::Value {
    json!({
        "name": kind.name(),
        "parameters": kind.num_params(),
        "parameters_without_classifier": kind.num_params_without_classifier(),
        "gmacs_at_224": kind.gflops(),
        "stage_channels": kind.stage_channels(),
        "stage_strides": kind.stage_strides(),
        "smallest_input": kind.min_size(),
        "preprocess": kind.published_input(),
        "key_style": format!("{:?}", kind.key_style()).to_lowercase(),
        "weights": kind.published_weights().map(|weights| {
            json!({ "url": weights.url, "sha256": weights.sha256, "licence": weights.licence })
        }),
    })
}
