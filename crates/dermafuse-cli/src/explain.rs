//! The verb `explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dermafuse::data::{Preprocess, RgbPixels, encode_png};
use dermafuse::ensemble::{AnswerCalibration, ModelPrevalence};
use dermafuse::eval::figure::heat_overlay;
use dermafuse::eval::{CasePage, ChecklistScore, HeatPicture, SampleCase, SampleImage};
use dermafuse::infer::{
    AttendedFeatures, AttentionHeat, Bundle, CamMethod, Contributions, ExplainedLogit, Explainer, HeatMap,
    ImageBaseline, InferError, Occlusion, kinds_of,
};
use dermafuse::networks::{AnyNetwork, Modality, MultimodalInput, Network};
use dermafuse::schema::ndarray::ArrayView3;
use dermafuse::schema::{Case, CaseImage, Field};

use crate::failure::{Failure, ProgramResult};
use crate::lesion_boxes::LesionBoxes;
use crate::model::{ModelArguments, field_value};
use crate::predict::case_name;
use crate::terminal::say;

/// A map that is coarser than this points at nothing; the deepest stage with a finer one is explained.
const LEAST_SIDE: usize = 4;
/// How much of the photo the greatest heat hides.
const OPACITY: f64 = 0.6;

/// Features with a bar of their own.
const MOST_FEATURES: usize = 12;
/// How contributions were found.
const SHAPLEY_NOTE: &str = "Exact Shapley values in per cent points: they add up from the probability of baselines alone to \
     that of all inputs. The baseline of an image is its mean colour, that of a recorded value “not recorded”.";

/// Explain what a saved model says of one case, on one page.
///
/// The page shows the images of the case, what the model looked at in them, its predictions, and what they come from.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The clinical photo (JPEG or PNG); may be given several times for a case with several. A model that uses the record alone
    /// needs no image.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["dermoscopic", "fields"])]
    clinical: Vec<PathBuf>,
    /// The dermoscopic image; may be given several times for a case with several.
    #[arg(long, value_name = "FILE")]
    dermoscopic: Vec<PathBuf>,
    #[command(flatten)]
    lesions: LesionBoxes,
    /// What is known of the patient, as NAME=VALUE with the name of a field of the model; may be given several times.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field_value)]
    fields: Vec<(String, String)>,
    /// The name of the task whose most probable class the heat maps explain; the first task if not given.
    #[arg(long)]
    task: Option<String>,
    /// How heat is found.
    #[arg(long, value_enum, default_value_t = Method::GradCam)]
    method: Method,
    /// The stage of the backbone whose feature map is explained, 1 to 4; the deepest that is not too coarse if not given.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    stage: Option<u8>,
    /// The file for the page.
    #[arg(long, value_name = "FILE", default_value = "case.html")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    /// By a class activation map.
    GradCam,
    /// By the same with higher derivatives.
    GradCamPlusPlus,
    /// By what the prediction loses when a square is hidden.
    Occlusion,
    /// By where the network's own attention looks, whatever the class (AMMFM, PEMM: in the images; MMFA: at features).
    Attention,
}

pub(crate) fn explain(arguments: &Arguments) -> ProgramResult {
    let bundle = arguments.model.load()?;
    let (clinical, dermoscopic) = (&arguments.clinical, &arguments.dermoscopic);
    let name = case_name(clinical, dermoscopic);
    let (first, second) = arguments.lesions.images(clinical, dermoscopic)?;
    let set = bundle.single_case(name, &first, &second, &arguments.fields)?;
    let tasks = &bundle.description.tasks;
    let task = match &arguments.task {
        None => 0,
        Some(name) => tasks.index_of(name).ok_or_else(|| {
            let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            format!("the model has no task `{name}`; it has {}", known.join(", "))
        })?,
    };
    let answers = bundle.predict(&set.whole(), |_| ())?;
    let predictions = answers.last();
    let case = SampleCase::of(predictions, 0)?.with_metadata(recorded(&set.fields, &set.cases[0]));
    let class = predictions.predicted(0, task);
    let explained = format!("{}: {}", tasks[task].label, tasks[task].classes[class]);

    let mut page = CasePage::new(case.clone())
        .note(format!("Model trained on {}{}.", bundle.description.data_set, synthetic(&bundle)))
        .leaky_inputs(&bundle.description.encoder.uses_post_diagnosis());
    let stage = &bundle.two_stage;
    let calibrated = stage.calibration.as_ref().map(AnswerCalibration::sentence);
    let assumed = stage.prevalence.as_ref().map(ModelPrevalence::sentence);
    for sentence in calibrated.into_iter().chain(assumed) {
        page = page.note(sentence);
    }
    if let Some(performance) = &bundle.description.performance {
        let (fields, values) = (&set.fields, &set.cases[0].metadata);
        let not_known = performance.not_known(fields, values);
        page = page.evidence(performance, &performance.like(fields, values), not_known);
    }
    if let Some(expected) = bundle.description.card.as_ref().and_then(|card| card.expected) {
        page = page.note(format!("This model learnt from all cases of its data: {expected}."));
    }
    let preprocess = &bundle.description.preprocess;
    if let Some(note) = preprocess.lesion_note(&set.whole(), kinds_of(bundle.network.modalities())) {
        page = page.note(note);
    }
    let explainer = Explainer::new(&bundle.network);
    let inputs = bundle.inputs(&set, 0)?;
    let logit = match bundle.explained_logit(&set, 0, task) {
        Err(InferError::NoGradients) => None,
        logit => Some(logit?.with_class(class)),
    };
    if logit.is_none() {
        page = page.note("There are no heat maps: classifiers on frozen features have no gradients.");
    }
    let mut attended = None;
    for (look, input) in inputs.iter().enumerate() {
        // An image that comes again, because there are fewer of its kind, is not explained again.
        let images = [(Modality::Clinical, &first), (Modality::Dermoscopic, &second)];
        let images = images.map(|(view, images)| (view, images.get(look)));
        let which = if inputs.len() > 1 { format!(", image {} of {}", look + 1, inputs.len()) } else { String::new() };
        if let Method::Attention = arguments.method {
            match attention(&explainer, input, arguments.stage)? {
                Attention::Positions(stage, attentions) => {
                    for (view, path) in images {
                        let Some(path) = path else { continue };
                        for attention in attentions.iter().filter(|found| [found.refined, found.source].contains(&view))
                        {
                            let caption = format!("{}{which}", attention_caption(stage, attention));
                            page = page.picture(picture(view, path, preprocess, &attention.heat[0], &caption)?);
                        }
                    }
                }
                // Of the first image.
                Attention::Features(features) => attended = attended.or(Some(features)),
            }
        }
        for (view, path) in images {
            let (Some(path), Some(logit), true) = (path, &logit, looks_at(&bundle.network, view)) else { continue };
            let (heat, how) = match arguments.method {
                Method::Attention => continue,
                Method::Occlusion => {
                    let occlusion = Occlusion::of_size(bundle.description.preprocess.size);
                    let heat = explainer.occlusion(input, view, logit, &occlusion)?;
                    let how = format!("occlusion, largest fall {:.0} per cent points", 100.0 * heat.highest);
                    (heat, how)
                }
                Method::GradCam => {
                    cam(&explainer, input, view, logit, arguments.stage, CamMethod::GradCam, "Grad-CAM")?
                }
                Method::GradCamPlusPlus => {
                    cam(&explainer, input, view, logit, arguments.stage, CamMethod::GradCamPlusPlus, "Grad-CAM++")?
                }
            };
            let cold = match heat.values.iter().all(|&value| value == 0.0) {
                true => " (nothing in the image spoke for it)",
                false => "",
            };
            page = page.picture(picture(view, path, preprocess, &heat, &format!("{explained} – {how}{cold}{which}"))?);
        }
    }

    let contributions = bundle.contributions(&set, 0, ImageBaseline::default())?;
    page = with_contributions(page, &case, &contributions);
    if let Some(features) = &attended {
        page = with_attended_features(page, features);
    }
    page.write(&arguments.out)?;

    for task in &case.tasks {
        let (class, probability) = &task.probabilities[task.predicted];
        say!("{:>5}  {class} {:.0} %", task.label, 100.0 * probability);
    }
    if let Some(score) = ChecklistScore::of(&case) {
        say!("seven-point score of the predicted classes: {}", score.points());
    }
    let shares = &contributions.tasks[task];
    say!("{explained}, {:.0} % from {:.0} %:", 100.0 * shares.probability, 100.0 * shares.baseline);
    for ((input, share), without) in contributions.inputs.iter().zip(&shares.shapley).zip(&shares.without) {
        let without = without.map_or("no answer".to_owned(), |probability| format!("{:.0} %", 100.0 * probability));
        say!("  {:+5.1}  {input} (without it: {without})", 100.0 * share);
    }
    say!("written to {}", arguments.out.display());
    Ok(())
}

fn synthetic(bundle: &Bundle) -> &'static str {
    if bundle.description.synthetic { " (synthetic images: it knows nothing of skin)" } else { "" }
}

/// Names and values of what is recorded.
fn recorded(fields: &[Field], case: &Case) -> Vec<(String, String)> {
    let values = fields.iter().zip(&case.metadata);
    values.filter_map(|(field, value)| Some((field.name.clone(), field.text(value)?))).collect()
}

fn looks_at(network: &AnyNetwork, view: Modality) -> bool {
    let modalities = network.modalities();
    match view {
        Modality::Clinical => modalities.clinical,
        Modality::Dermoscopic => modalities.dermoscopic,
    }
}

fn cam(
    explainer: &Explainer<AnyNetwork>,
    input: &MultimodalInput,
    view: Modality,
    logit: &ExplainedLogit,
    stage: Option<u8>,
    method: CamMethod,
    name: &str,
) -> Result<(HeatMap, String), Failure> {
    let stage = match stage {
        Some(stage) => usize::from(stage) - 1,
        None => explainer.deepest_stage(input, view, LEAST_SIDE).unwrap_or(0),
    };
    let heat = explainer.class_activation(input, view, stage, logit, method)?.remove(0);
    Ok((heat, format!("{name} of stage {}", stage + 1)))
}

/// What a network's attention looks at.
enum Attention {
    /// At positions of the images' maps after a stage, from 0.
    Positions(usize, Vec<AttentionHeat>),
    /// At features.
    Features(AttendedFeatures),
}

fn attention(
    explainer: &Explainer<AnyNetwork>,
    input: &MultimodalInput,
    stage: Option<u8>,
) -> Result<Attention, InferError> {
    let deepest = || explainer.deepest_attention(input, LEAST_SIDE).or_else(|| explainer.deepest_attention(input, 1));
    match stage.map(|stage| usize::from(stage) - 1).or_else(deepest) {
        Some(stage) => Ok(Attention::Positions(stage, explainer.position_attention(input, stage)?)),
        None => Ok(Attention::Features(explainer.feature_attention(input)?.remove(0))),
    }
}

fn attention_caption(stage: usize, attention: &AttentionHeat) -> String {
    format!(
        "attention of the {} map after stage {}, weights of the {} image: at most {:.1} times chance",
        attention.refined.name(),
        stage + 1,
        attention.source.name(),
        attention.contrast(0)
    )
}

/// A bar for each of the features that are looked at most.
fn with_attended_features(page: CasePage, features: &AttendedFeatures) -> CasePage {
    let (heads, length) = features.weights.dim();
    let mut shares: Vec<(usize, f64)> = features.weights.iter().copied().enumerate().collect();
    shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let bars = shares.iter().take(MOST_FEATURES).map(|&(index, share)| {
        let of = if index < features.of_record { "record" } else { "image" };
        (format!("{of} feature {} of head {}", index % length + 1, index / length + 1), share)
    });
    let title = format!(
        "Attention: the most of {} features in {heads} heads, where chance gives {:.1}",
        heads * length,
        100.0 / length as f64
    );
    page.contributions(&title, &bars.collect::<Vec<_>>()).contributions_note(format!(
        "{SHAPLEY_NOTE} Attention is no contribution: it says how large a share of a head's attention goes to a feature, \
         whatever comes of it. The features are learnt and have no names."
    ))
}

/// The heat is of what the network sees of the photo.
fn picture(
    view: Modality,
    image: &CaseImage,
    preprocess: &Preprocess,
    heat: &HeatMap,
    caption: &str,
) -> Result<HeatPicture, Failure> {
    let pixels = preprocess.seen(&image.into())?;
    let shape = (pixels.height(), pixels.width(), 3);
    let overlay = heat_overlay(ArrayView3::from_shape(shape, pixels.data())?, heat.values.view(), OPACITY)?;
    let overlay = RgbPixels::new(pixels.width(), pixels.height(), overlay.into_iter().collect())?;
    let png = |pixels: &RgbPixels| SampleImage { mime: "image/png".into(), bytes: encode_png(pixels) };
    Ok(HeatPicture { name: view.name().into(), caption: caption.into(), photo: png(&pixels), overlay: png(&overlay) })
}

fn with_contributions(page: CasePage, case: &SampleCase, contributions: &Contributions) -> CasePage {
    let titled = contributions.tasks.iter().zip(&case.tasks).fold(page, |page, (shares, task)| {
        let class = &task.probabilities[shares.class].0;
        let percent = |probability: f64| format!("{:.0} %", 100.0 * probability);
        let title =
            format!("{}: {class} {}, from {}", task.label, percent(shares.probability), percent(shares.baseline));
        let names = contributions.inputs.iter().map(ToString::to_string);
        page.contributions(&title, &names.zip(shares.shapley.iter().copied()).collect::<Vec<_>>())
    });
    titled.contributions_note(SHAPLEY_NOTE)
}
