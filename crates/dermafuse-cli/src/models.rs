//! The verb `models`.

use burn::tensor::Device;
use clap::Args;
use dermafuse::backbones::{BackboneKind, parameter_count};
use dermafuse::fusion::{FusionKind, MapFusionKind};
use dermafuse::networks::{
    AmfamConfig, EmbeddingNetConfig, FusionNetConfig, ModalitySubsetNetConfig, NetworkConfig, NetworkError,
    NetworkKind, TFormerConfig,
};
use dermafuse::recipes::{JointMethod, JointStructure, Recipe, TwoImageMethod, ammfm_methods, pemm_methods};
use serde_json::json;

use crate::device::DeviceArgument;
use crate::failure::ProgramResult;
use crate::terminal::{print_result, say, say_part};

/// List the built-in architectures and the networks of the papers with their sizes.
///
/// It also says what the published weights of an architecture are, and what fusing with a record adds to it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    device: DeviceArgument,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

pub(crate) fn models(arguments: &Arguments) -> ProgramResult {
    let device = arguments.device.device()?;
    if arguments.json {
        let backbones: Vec<_> = BackboneKind::ALL.into_iter().map(description).collect();
        let networks =
            listed_networks().iter().map(|listed| listed.description(&device)).collect::<Result<Vec<_>, _>>()?;
        let kinds = NetworkKind::ALL.map(|kind| json!({ "name": kind.name(), "description": kind.description() }));
        let text = serde_json::to_string_pretty(&json!({
            "backbones": backbones,
            "fusion_modules": FusionKind::ALL,
            "map_fusion_modules": MapFusionKind::ALL,
            "network_kinds": kinds,
            "networks": networks,
        }))?;
        return print_result(&(text + "\n"));
    }
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
            kind.preprocess().size,
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
    let count = |structure| {
        let method = JointMethod { structure, fusion: fusion.clone(), backbone, ..JointMethod::default() };
        let config = method.network(vec![CLASSES]).with_metadata_inputs(RECORD);
        Ok::<usize, NetworkError>(parameter_count(&config.init(device)?))
    };
    Ok(count(JointStructure::JointIndividual)? - count(JointStructure::Image)?)
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

fn listed_networks() -> Vec<Listed> {
    use BackboneKind::{ConvNeXtTiny, DenseNet201, MobileNetV3Small, ResNet50, SwinV2Tiny};
    let classes = || DERM7PT.to_vec();
    let other = |paper, name: &str, network, published| Listed { paper, name: name.into(), network, published };
    let fusion_net = FusionNetConfig::new(ResNet50, classes());
    let mut listed = vec![other("FusionM4Net", "FusionNet RN50", NetworkConfig::FusionNet(fusion_net), Some(54.45))];
    let published = |recipe: &str, row: &str| {
        let recipe = Recipe::shipped(recipe)?;
        recipe.published().iter().find_map(|table| Some(table.row(row)?.parameters))
    };
    for big in [SwinV2Tiny, ResNet50, ConvNeXtTiny] {
        for TwoImageMethod { name, network } in ammfm_methods(MobileNetV3Small, big, &DERM7PT) {
            let row = published("ammfm", &name);
            if listed.iter().all(|listed| listed.name != name)
                && let Some(parameters) = row
            {
                listed.push(Listed { paper: "AMMFM", name, network, published: parameters });
            }
        }
    }
    for TwoImageMethod { name, network } in pemm_methods(SwinV2Tiny, &DERM7PT) {
        let published = published("pemm", &name).flatten();
        listed.push(Listed { paper: "PEMM", name: format!("{name} ST"), network, published });
    }
    for (backbone, short) in [(ResNet50, "RN50"), (ConvNeXtTiny, "CXT"), (DenseNet201, "DN201")] {
        let TwoImageMethod { name, network } = pemm_methods(backbone, &DERM7PT).pop().expect("PEMM is the last row");
        listed.push(Listed { paper: "PEMM", name: format!("{name} {short}"), network, published: None });
    }
    for shared_backbone in [true, false] {
        let network = AmfamConfig { shared_backbone, ..AmfamConfig::new(ResNet50, classes()) };
        let name = if shared_backbone { "one backbone RN50" } else { "two backbones RN50" };
        listed.push(other("AMFAM", name, NetworkConfig::Amfam(network).inference(), None));
    }
    let embedding = EmbeddingNetConfig::new(ResNet50, Some(DERM7PT_RECORD), classes());
    listed.push(other("Yap et al.", "EmbeddingNet RN50", NetworkConfig::EmbeddingNet(embedding), None));
    let subsets = ModalitySubsetNetConfig::kawahara(DERM7PT_RECORD, classes());
    listed.push(other("Kawahara et al.", "Inception-V3 pair", NetworkConfig::ModalitySubsetNet(subsets), None));
    // Its code leaves a classifier of 128 classes in the backbone.
    listed.push(other("TFormer", "images", NetworkConfig::TFormer(TFormerConfig::new(None, classes())), Some(77.76)));
    let with_record = TFormerConfig::new(Some(DERM7PT_RECORD), classes());
    listed.push(other("TFormer", "images and record", NetworkConfig::TFormer(with_record), None));
    listed
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
    for listed in listed_networks() {
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
        "preprocess": kind.preprocess(),
        "key_style": format!("{:?}", kind.key_style()).to_lowercase(),
        "weights": kind.published_weights().map(|weights| {
            json!({ "url": weights.url, "sha256": weights.sha256, "licence": weights.licence })
        }),
    })
}
