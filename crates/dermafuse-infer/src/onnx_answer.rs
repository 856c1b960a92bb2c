//! The whole answer of a model as an ONNX file: from bytes of pixels to the probabilities of its last stage.

use dermafuse_backbones::parameter_count;
use dermafuse_data::{ChannelOrder, Normalization, OutsideModel, Preprocess, source_beside_others};
use dermafuse_ensemble::{GraphAnswer, GraphLogits};
use dermafuse_networks::{Modalities, Network};
use dermafuse_onnx::{
    Dim, Element, Graph, NetworkInputs, NetworkOutputs, OnnxError, OnnxModel, Value, Values, add_network,
};
use dermafuse_schema::{Modality, SeveralImages};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::bundle::onnx_encoder_of;
use crate::outside_encoder::encoded;
use crate::outside_inputs::{OutsideInput, check_names, outside_branch, said_by, uniform_logits};
use crate::{Bundle, BundleDescription, InferError, Model, Precision, View, kinds_of, sha256_hex};

/// The version of what the properties of a file say.
const FORMAT: &str = "1";

/// A model as an ONNX file that gives its whole answer.
#[derive(Clone, Debug)]
pub struct OnnxAnswer {
    /// The file. Inputs, those that the model looks at: `clinical` and `dermoscopic`, bytes `[N, S, S, 3]` of RGB images that are resized
    /// already; `record` `[N, M]`, the encoded record; and the name of each other model, `[N, K]`, the probabilities that it gives. Outputs:
    /// the name of each task, `[N, K_t]` probabilities; `ROW/TASK` for the rows before it, such as `P_1/diagnosis`; `from BASIS/TASK` for
    /// cases that lack something; `embedding` `[N, D]`, where there is a network.
    pub model: OnnxModel,
    /// The row that the outputs with the tasks' names are: `P_1`, `P_3`, `P_3 calibrated`, ….
    pub ends_at: String,
    /// The other models whose probabilities are inputs.
    pub others: Vec<OutsideInput>,
    /// What answers for cases that lack an image, the record or what another model says.
    pub partial: Vec<PartialAnswer>,
    /// What the model answers and the file does not, a sentence each.
    pub left_out: Vec<String>,
}

impl OnnxAnswer {
    /// The file for a page without a server, which asks about images and the record alone.
    ///
    /// # Errors
    /// A model that asks for what other models say.
    pub fn for_page(&self) -> Result<&OnnxModel, InferError> {
        match self.others.is_empty() {
            true => Ok(&self.model),
            false => {
                let models = self.others.iter().map(|other| other.input.clone()).collect();
                Err(InferError::PageOfOthers { models })
            }
        }
    }
}

/// The outputs of a file that answer for cases which lack something. Whatever stands in the place of a missing image, record or model has
/// no say in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartialAnswer {
    /// The images that there are.
    pub images: Vec<&'static str>,
    /// Whether there is a record.
    pub record: bool,
    /// The other models that say something of the case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What the outputs' names begin with, before `/TASK`: `from clinical+record`.
    pub outputs: String,
    /// The row that they are.
    pub stage: String,
    /// The images that the answer stands on.
    pub sees: Vec<&'static str>,
    /// Whether it stands on the record.
    pub sees_record: bool,
    /// The other models that it stands on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sees_models: Vec<String>,
    /// Whether a second stage does not answer, since there is no record.
    pub first_stage: bool,
    /// What must be said of such an answer.
    pub notes: Vec<String>,
}

impl Model {
    /// The model as an ONNX file that needs no other: normalisation, views, network, branch weights, second stage, calibration and
    /// prevalence are inside, and what is known of the model is in its properties, whose keys begin with `dermafuse.`.
    ///
    /// The answers are those of [`Model::predict`] for cases that have one image of each kind and a record; for others there are outputs of
    /// their own ([`PartialAnswer`]), where parts of the network answer that do not look at what is missing. Numbers after the network are
    /// 64-bit floats, as here; the network's are those of whatever runs the file.
    ///
    /// # Errors
    /// An operation of the network that cannot be written, by its name and layer; a file of more than 2 GB; another model that has the name
    /// of something else in the file; an encoder's file that cannot be a part of another one.
    pub fn to_onnx(&self) -> Result<OnnxAnswer, InferError> {
        self.onnx_answer(Precision::F32)
    }

    /// The same in 8-bit integers, for a model that has [ranges](BundleDescription::activation_ranges): the convolutions and matrix
    /// products that they are of are written so that engines compute them with integers, and the file is smaller. Everything else is in
    /// floats. Numbers differ from those of [`Model::predict`] by what `dermafuse check-engine` measures.
    ///
    /// # Errors
    /// As [`Model::to_onnx`]; a model without ranges.
    pub fn to_int8_onnx(&self) -> Result<OnnxAnswer, InferError> {
        self.onnx_answer(Precision::Int8)
    }

    fn onnx_answer(&self, precision: Precision) -> Result<OnnxAnswer, InferError> {
        let bundle = self.bundle();
        let ranges = match precision {
            Precision::Int8 => Some(bundle.checked_ranges()?.of_graph()),
            Precision::F32 | Precision::Bf16 => None,
        };
        let BundleDescription { tasks, preprocess, encoder, augmentation, outside, .. } = &bundle.description;
        // A second stage that looks at the record alone asks nobody else.
        let outside: &[OutsideModel] = if bundle.two_stage.is_of_metadata_alone() { &[] } else { outside };
        check_names(outside, tasks)?;
        let mut graph = Graph::new();
        let (looks_at, views) = (bundle.network.modalities(), augmentation.views());
        let width = encoder.width();
        let size = preprocess.size;
        let shape = vec![Dim::Batch(1), Dim::Fixed(size), Dim::Fixed(size), Dim::Fixed(3)];
        let image = |graph: &mut Graph, is_there: bool, name: &str| {
            is_there.then(|| {
                let bytes = graph.input(name, Element::U8, shape.clone());
                let normalized = normalized(graph, preprocess, bytes);
                seen_by(graph, views, normalized)
            })
        };
        let clinical = image(&mut graph, looks_at.clinical, "clinical");
        let dermoscopic = image(&mut graph, looks_at.dermoscopic, "dermoscopic");
        let stands_in = stands_in(bundle, outside);
        let needs_record = (looks_at.metadata && !stands_in) || bundle.two_stage.second_stage.is_some();
        let record = (needs_record && width > 0)
            .then(|| graph.input("record", Element::F32, vec![Dim::Batch(1), Dim::Fixed(width)]));
        let of_views = record.filter(|_| looks_at.metadata).map(|record| graph.concat(&vec![record; views.len()], 0));
        let apart = |graph: &mut Graph, value: Value| {
            let length = graph.shape(value)[1];
            graph.reshape(value, vec![Dim::Fixed(views.len()), Dim::Batch(1), length]) // [V, N, …]
        };
        let said: Vec<(String, Vec<Value>)> =
            outside.iter().map(|model| outside_branch(&mut graph, model, tasks, views.len())).collect();
        let (mut branches, embedding) = match stands_in {
            true => {
                let names = bundle.network.branches().into_iter().map(|branch| branch.name.to_owned());
                (names.map(|name| (name, uniform_logits(&mut graph, tasks, views.len()))).collect(), None)
            }
            false => {
                let outputs = match bundle.encoder_file().zip(onnx_encoder_of(&bundle.description.network)) {
                    Some((file, config)) => {
                        let images: Vec<Value> = clinical.into_iter().chain(dermoscopic).collect();
                        let embedding = encoded(&mut graph, config, file, &images)?;
                        NetworkOutputs { branches: Vec::new(), embedding }
                    }
                    None => {
                        let network = bundle.network.clone().into_inference();
                        let inputs = NetworkInputs { clinical, dermoscopic, record: of_views };
                        add_network(&mut graph, &network, &inputs)?
                    }
                };
                let answered = match &bundle.description.heads {
                    Some(heads) => heads.add_to(&mut graph, outputs.embedding, of_views),
                    None => outputs.branches.into_iter().map(|(name, logits)| (name.to_owned(), logits)).collect(),
                };
                let branches: Vec<(String, Vec<Value>)> = answered
                    .into_iter()
                    .map(|(name, logits)| (name, logits.into_iter().map(|logits| apart(&mut graph, logits)).collect()))
                    .collect();
                (branches, Some(apart(&mut graph, outputs.embedding)))
            }
        };
        // A network that knows nothing is no branch where another model says something.
        let own = if stands_in { branches.len() } else { 0 };
        branches.extend(said);
        let whole = GraphLogits { tasks, branches: branches[own..].to_vec(), record };
        let logits = GraphLogits { branches, ..whole.clone() };
        let rows = bundle.two_stage.add_to(&mut graph, &whole);
        let (last, before) = rows.split_last().expect("a model has a row");
        for (task, &probabilities) in tasks.iter().zip(&last.probabilities) {
            let numbers = graph.cast(probabilities, Element::F32);
            graph.output(&task.name, numbers);
        }
        for row in before {
            for (task, &probabilities) in tasks.iter().zip(&row.probabilities) {
                let numbers = graph.cast(probabilities, Element::F32);
                graph.output(&format!("{}/{}", row.name, task.name), numbers);
            }
        }
        if let Some(embedding) = embedding {
            let first = graph.slice(embedding, 0, 0..1);
            let length = graph.shape(first)[2];
            let first = graph.reshape(first, vec![Dim::Batch(1), length]);
            graph.output("embedding", first);
        }
        let others: Vec<OutsideInput> = outside.iter().map(OutsideInput::of).collect();
        let partial = partial_answers(bundle, &mut graph, &logits);
        let ends_at = last.name.clone();
        let mut left_out = left_out(bundle, &partial);
        for row in &rows {
            for task in &row.unchanged {
                left_out.push(format!("`{}` leaves the task `{task}` as it was: nothing was fitted to it", row.name));
            }
        }
        if let Some(ranges) = &ranges {
            graph.quantise(ranges).map_err(OnnxError::from)?;
        }
        let properties = properties(self, precision, &ends_at, (&partial, &others), &left_out)?;
        let model = graph.into_model("model", &properties).map_err(OnnxError::from)?;
        Ok(OnnxAnswer { model, ends_at, others, partial, left_out })
    }
}

/// Bytes `[N, S, S, 3]` of RGB to the numbers `[N, 3, S, S]` that the network was trained on, as [`Preprocess::apply`] has them.
fn normalized(graph: &mut Graph, preprocess: &Preprocess, bytes: Value) -> Value {
    let numbers = graph.cast(bytes, Element::F32);
    let most = graph.scalar_like(numbers, 255.0);
    let numbers = graph.divide(numbers, most);
    let numbers = match preprocess.channels {
        ChannelOrder::Rgb => numbers,
        ChannelOrder::Bgr => graph.flip(numbers, &[3]),
    };
    let numbers = match preprocess.normalization {
        Normalization::Div255 => numbers,
        Normalization::MeanStd { mean, std } => {
            let [mean, std] = [mean, std].map(|row| graph.constant(Values::F32(row.to_vec()), &[1, 1, 1, 3]));
            let centred = graph.subtract(numbers, mean);
            graph.divide(centred, std)
        }
    };
    graph.transpose(numbers, &[0, 3, 1, 2])
}

/// All views of the images, one after the other: `[V · N, 3, S, S]`.
fn seen_by(graph: &mut Graph, views: &[View], images: Value) -> Value {
    let all: Vec<Value> = views
        .iter()
        .map(|view| {
            let turned = |graph: &mut Graph, axis: usize| {
                let turned = graph.transpose(images, &[0, 1, 3, 2]);
                graph.flip(turned, &[axis])
            };
            match view {
                View::Identity => images,
                View::FlipVertical => graph.flip(images, &[2]),
                View::FlipHorizontal => graph.flip(images, &[3]),
                View::FlipBoth => graph.flip(images, &[2, 3]),
                View::TurnClockwise => turned(graph, 3),
                View::TurnCounterClockwise => turned(graph, 2),
            }
        })
        .collect();
    graph.concat(&all, 0)
}

/// Adds outputs for cases that lack an image or the record, where parts of the network answer that do not look at it.
fn partial_answers(bundle: &Bundle, graph: &mut Graph, logits: &GraphLogits<'_>) -> Vec<PartialAnswer> {
    let Bundle { description, network, two_stage, .. } = bundle;
    // A network that was trained to miss something looks at zeros in its place, which no bytes are.
    if description.modality_dropout.is_some() || two_stage.is_of_metadata_alone() {
        return Vec::new();
    }
    let looks_at = network.modalities();
    let all: Vec<Modality> = kinds_of(looks_at).collect();
    let subsets: &[&[Modality]] = match all.as_slice() {
        [_, _] => &[&[Modality::Clinical, Modality::Dermoscopic], &[Modality::Clinical], &[Modality::Dermoscopic], &[]],
        [Modality::Clinical] => &[&[Modality::Clinical], &[]],
        [Modality::Dermoscopic] => &[&[Modality::Dermoscopic], &[]],
        _ => &[&[]],
    };
    let mut partial = Vec::new();
    let outside = &description.outside;
    let stands_in = stands_in(bundle, outside);
    let recorded = if logits.record.is_some() { vec![true, false] } else { vec![false] };
    let given = recorded
        .into_iter()
        .flat_map(|recorded| said_by(outside, all.is_empty()).into_iter().map(move |said| (recorded, said)));
    for (recorded, said) in given {
        for images in subsets {
            let has_all_others = said.len() == outside.len();
            if images.len() == all.len() && recorded == logits.record.is_some() && has_all_others {
                continue;
            }
            let there = Modalities {
                clinical: images.contains(&Modality::Clinical),
                dermoscopic: images.contains(&Modality::Dermoscopic),
                metadata: recorded,
            };
            let answering = network.branches().into_iter().zip(network.answering(there));
            let answering = answering.filter(|(_, answers)| *answers && (!stands_in || said.is_empty()));
            let answering: Vec<_> = answering.map(|(branch, _)| branch).collect();
            // Where a network looks at images, what another model says is not enough.
            let is_unanswered = answering.is_empty() && (said.is_empty() || !all.is_empty());
            // A branch that looks at the record is asked about an empty one, which the file's input is not.
            if is_unanswered || (!recorded && answering.iter().any(|branch| branch.needs.metadata)) {
                continue;
            }
            let is_there =
                |name: &str| answering.iter().any(|branch| branch.name == name) || said.iter().any(|own| own == name);
            let branches = logits.branches.iter().filter(|(name, _)| is_there(name)).cloned().collect();
            let own = GraphLogits { tasks: logits.tasks, branches, record: logits.record };
            let GraphAnswer { row, branches, notes } = two_stage.add_answer_to(graph, &own, recorded);
            let words: Vec<&str> = images
                .iter()
                .map(|image| image.name())
                .chain(said.iter().map(String::as_str))
                .chain(recorded.then_some("record"))
                .collect();
            let outputs = format!("from {}", words.join("+"));
            for (task, &probabilities) in logits.tasks.iter().zip(&row.probabilities) {
                let numbers = graph.cast(probabilities, Element::F32);
                graph.output(&format!("{outputs}/{}", task.name), numbers);
            }
            let used = answering.iter().filter(|branch| branches.iter().any(|name| name == branch.name));
            let seen = used.fold(Modalities::default(), |all, branch| all.and(branch.needs));
            let second_stage = two_stage.second_stage.is_some();
            partial.push(PartialAnswer {
                images: images.iter().map(|image| image.name()).collect(),
                record: recorded,
                models: said.clone(),
                outputs,
                stage: row.name,
                sees: kinds_of(seen).map(|kind| kind.name()).collect(),
                sees_record: seen.metadata || (second_stage && recorded && two_stage.mix < 1.0),
                sees_models: said.iter().filter(|name| branches.contains(name)).cloned().collect(),
                first_stage: second_stage && !recorded,
                notes,
            });
        }
    }
    partial
}

/// Whether the network knows nothing and answers only where no other model says anything, as in a [`Predictor`](crate::Predictor).
fn stands_in(bundle: &Bundle, outside: &[OutsideModel]) -> bool {
    !outside.is_empty() && bundle.description.heads.is_none() && parameter_count(&bundle.network) == 0
}

/// What the model answers and no file says.
fn left_out(bundle: &Bundle, partial: &[PartialAnswer]) -> Vec<String> {
    let BundleDescription { several_images, out_of_distribution, modality_dropout, encoder, outside, .. } =
        &bundle.description;
    let what = match outside.is_empty() {
        true => "an image or the record",
        false => "an image, the record or what another model says",
    };
    let but = match partial {
        [] => ": the file answers for cases that have all that the model looks at".to_owned(),
        [..] => {
            let outputs: Vec<String> = partial.iter().map(|answer| format!("`{}`", answer.outputs)).collect();
            format!(", but for what outputs say that they are from: {}", outputs.join(", "))
        }
    };
    let mut left_out = vec![
        format!("cases that lack {what}{but}"),
        "what is found in pictures before they are resized, such as blur".to_owned(),
    ];
    if *several_images != SeveralImages::First {
        left_out.push("several images of a kind of one case: ask about each, and take the mean of `P_1`".to_owned());
    }
    if out_of_distribution.is_some() {
        left_out.push("how far a case is from those of the training; `embedding` is what it is told from".to_owned());
    }
    let beside: Vec<&str> = encoder.fields().filter_map(source_beside_others).collect();
    if !beside.is_empty() {
        left_out.push("what numbers are beside those of the patient's other lesions: they are columns of `record`, not recorded for a lesion alone".to_owned());
    }
    if modality_dropout.is_some() {
        left_out.push("which part of the model answers where something is missing".to_owned());
    }
    left_out
}

/// What whoever reads the file must know.
fn properties(
    model: &Model,
    precision: Precision,
    ends_at: &str,
    (partial, others): (&[PartialAnswer], &[OutsideInput]),
    left_out: &[String],
) -> Result<Vec<(String, String)>, InferError> {
    let bundle = model.bundle();
    let record = match model.fields().is_empty() {
        true => Vec::new(),
        false => bundle.description.encoder.encoded_columns(),
    };
    let texts = [
        ("format", FORMAT.to_owned()),
        ("stage", ends_at.to_owned()),
        ("ends_at", ends_at.to_owned()),
        ("precision", precision.name().to_owned()),
        ("partial", json!(partial).to_string()),
        ("left_out", json!(left_out).to_string()),
        ("models", json!(others).to_string()),
        ("record", json!(record).to_string()),
        ("description", description(model, precision)?.to_string()),
    ];
    Ok(texts.into_iter().map(|(key, text)| (format!("dermafuse.{key}"), text)).collect())
}

fn description(model: &Model, precision: Precision) -> Result<Json, InferError> {
    let bundle = model.bundle();
    let BundleDescription {
        data_set,
        synthetic,
        tasks,
        network,
        preprocess,
        augmentation,
        several_images,
        groups,
        prediction_sets,
        performance,
        card,
        quality,
        ..
    } = &bundle.description;
    let looks_at: Modalities = bundle.network.modalities();
    let stage = &bundle.two_stage;
    let weights: Vec<Json> = stage
        .branch_weights
        .names()
        .iter()
        .zip(stage.branch_weights.values())
        .map(|(name, weight)| json!({ "branch": name, "weight": weight }))
        .collect();
    let mut notes = bundle.notes();
    // One that answers are corrected to is among them.
    let uncorrected = stage.prevalence.as_ref().filter(|prevalence| prevalence.assumed.is_none());
    notes.extend(uncorrected.map(|prevalence| prevalence.sentence_of(&tasks[0].name)));
    if precision == Precision::Int8 {
        notes.push(
            "The network is computed with 8-bit integers: probabilities differ from those of 32-bit floats, with which the model was tested."
                .to_owned(),
        );
    }
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "id": sha256_hex(&bundle.to_bytes()?),
        "data_set": data_set,
        "synthetic": synthetic,
        "tasks": tasks,
        "fields": model.fields(),
        "unseen_category": bundle.description.encoder.config().unseen,
        "images": kinds_of(looks_at).map(|kind| kind.name()).collect::<Vec<_>>(),
        "looks_at_record": looks_at.metadata,
        "preprocess": preprocess,
        "quality": quality,
        "views": augmentation.views().len(),
        "several_images": several_images,
        "network": network.kind(),
        "branches": bundle.network.branches().iter().map(|branch| branch.name).collect::<Vec<_>>(),
        "branch_weights": weights,
        "groups": groups,
        "prediction_sets": prediction_sets,
        "performance": performance,
        "prevalence": stage.prevalence,
        "card": card,
        "notes": notes,
    }))
}
