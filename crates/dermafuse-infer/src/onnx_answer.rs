//! The whole answer of a model as an ONNX file: from bytes of pixels to the probabilities of its last stage.

use dermafuse_data::{ChannelOrder, Normalization, Preprocess, source_beside_others};
use dermafuse_ensemble::{GraphAnswer, GraphBasis, GraphLogits};
use dermafuse_networks::{BranchInfo, Modalities, Network};
use dermafuse_onnx::{Dim, Element, Graph, NetworkInputs, OnnxError, OnnxModel, Value, Values, add_network};
use dermafuse_schema::{Modality, SeveralImages};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{Bundle, BundleDescription, InferError, Model, Precision, View, kinds_of, sha256_hex};

/// The version of what the properties of a file say.
const FORMAT: &str = "1";

/// A model as an ONNX file that gives its whole answer.
#[derive(Clone, Debug)]
pub struct OnnxAnswer {
    /// The file. Inputs: `clinical` and `dermoscopic`, bytes `[N, S, S, 3]` of RGB images that are resized already, and `record` `[N, M]`, the
    /// encoded record, those that the model looks at; `clinical_given` and `dermoscopic_given`, truth values `[N]`, whether a case has the
    /// image, where a network that was trained to miss it sees zeros in its place. Outputs: the name of each task, `[N, K_t]` probabilities;
    /// `ROW/TASK` for the rows before it, such as `P_1/diagnosis`; `from BASIS/TASK` for cases that lack something; `embedding` `[N, D]`.
    pub model: OnnxModel,
    /// The row that the outputs with the tasks' names are: `P_1`, `P_3`, `P_3 calibrated`, ….
    pub ends_at: String,
    /// What answers for cases that lack an image or the record.
    pub partial: Vec<PartialAnswer>,
    /// What the model answers and the file does not, a sentence each.
    pub left_out: Vec<String>,
}

/// The outputs of a file that answer for cases which lack something. What stands in the place of a missing image has no say in them, if its
/// input `…_given` says that it is missing; nor has the record of a case without one, unless `empty_record` says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartialAnswer {
    /// The images that there are.
    pub images: Vec<&'static str>,
    /// Whether there is a record.
    pub record: bool,
    /// What the outputs' names begin with, before `/TASK`: `from clinical+record`.
    pub outputs: String,
    /// The row that they are.
    pub stage: String,
    /// The images that the answer stands on.
    pub sees: Vec<&'static str>,
    /// Whether it stands on the record.
    pub sees_record: bool,
    /// Whether a part of the network looks at the record although there is none: the input `record` has to be the encoding of a record in
    /// which nothing is recorded.
    pub empty_record: bool,
    /// The missing images that a part of the network looks at all the same, as zeros: their inputs `…_given` have to be false.
    pub zeros: Vec<&'static str>,
    /// Whether a second stage does not answer, since there is no record.
    pub first_stage: bool,
    /// What must be said of such an answer.
    pub notes: Vec<String>,
}

impl Model {
    /// The model as an ONNX file that needs no other: normalisation, views, network, branch weights, second stage, calibration and
    /// prevalence are inside, and what is known of the model is in its properties, whose keys begin with `dermafuse.`.
    ///
    /// The answers are those of [`Model::predict`] for cases that have one image of each kind and a record; for those of the others that the
    /// model answers there are outputs of their own ([`PartialAnswer`]). Numbers after the network are
    /// 64-bit floats, as here; the network's are those of whatever runs the file.
    ///
    /// # Errors
    /// An operation of the network that cannot be written, by its name and layer; a file of more than 2 GB; a model that asks for what other
    /// models say.
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
        if !outside.is_empty() {
            let models = outside.iter().map(|model| model.name.clone()).collect();
            return Err(InferError::OnnxOfOthers { models });
        }
        if bundle.encoder_file().is_some() {
            return Err(InferError::OnnxOfEncoder);
        }
        let mut graph = Graph::new();
        let (looks_at, views) = (bundle.network.modalities(), augmentation.views());
        let width = encoder.width();
        let size = preprocess.size;
        let shape = vec![Dim::Batch(1), Dim::Fixed(size), Dim::Fixed(size), Dim::Fixed(3)];
        let needs_record = looks_at.metadata || bundle.two_stage.second_stage.is_some();
        let has_record = needs_record && width > 0;
        let incomplete = incomplete_cases(bundle, has_record);
        let image = |graph: &mut Graph, is_there: bool, image: Modality| {
            is_there.then(|| {
                let bytes = graph.input(image.name(), Element::U8, shape.clone());
                let mut normalized = normalized(graph, preprocess, bytes);
                if incomplete.iter().any(|case| case.zeros(&case.answering).contains(&image)) {
                    normalized = zeros_where_missing(graph, image, normalized);
                }
                seen_by(graph, views, normalized)
            })
        };
        let clinical = image(&mut graph, looks_at.clinical, Modality::Clinical);
        let dermoscopic = image(&mut graph, looks_at.dermoscopic, Modality::Dermoscopic);
        let record = has_record.then(|| graph.input("record", Element::F32, vec![Dim::Batch(1), Dim::Fixed(width)]));
        let of_views = record.filter(|_| looks_at.metadata).map(|record| graph.concat(&vec![record; views.len()], 0));
        let network = bundle.network.clone().into_inference();
        let outputs = add_network(&mut graph, &network, &NetworkInputs { clinical, dermoscopic, record: of_views })?;
        let apart = |graph: &mut Graph, value: Value| {
            let length = graph.shape(value)[1];
            graph.reshape(value, vec![Dim::Fixed(views.len()), Dim::Batch(1), length]) // [V, N, …]
        };
        let answered = match &bundle.description.heads {
            Some(heads) => heads.add_to(&mut graph, outputs.embedding, of_views),
            None => outputs.branches.into_iter().map(|(name, logits)| (name.to_owned(), logits)).collect(),
        };
        let branches = answered
            .into_iter()
            .map(|(name, logits)| (name, logits.into_iter().map(|logits| apart(&mut graph, logits)).collect()))
            .collect();
        let embedding = apart(&mut graph, outputs.embedding);
        let logits = GraphLogits { tasks, branches, record };
        let rows = bundle.two_stage.add_to(&mut graph, &logits);
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
        let first = graph.slice(embedding, 0, 0..1);
        let first = {
            let length = graph.shape(first)[2];
            graph.reshape(first, vec![Dim::Batch(1), length])
        };
        graph.output("embedding", first);
        let partial: Vec<PartialAnswer> =
            incomplete.iter().map(|case| partial_answer(bundle, &mut graph, &logits, case)).collect();
        let ends_at = last.name.clone();
        let mut left_out = left_out(bundle);
        for row in &rows {
            for task in &row.unchanged {
                left_out.push(format!("`{}` leaves the task `{task}` as it was: nothing was fitted to it", row.name));
            }
        }
        if let Some(ranges) = &ranges {
            graph.quantise(ranges).map_err(OnnxError::from)?;
        }
        let properties = properties(self, precision, &ends_at, &partial, &left_out)?;
        let model = graph.into_model("model", &properties).map_err(OnnxError::from)?;
        Ok(OnnxAnswer { model, ends_at, partial, left_out })
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

/// Normalised images `[N, 3, S, S]` with zeros in the place of those that an input says are missing, as [`tensors_of`](crate::tensors_of) has
/// them. No bytes are zeros behind the normalisation.
fn zeros_where_missing(graph: &mut Graph, image: Modality, normalized: Value) -> Value {
    let given = graph.input(&format!("{}_given", image.name()), Element::Bool, vec![Dim::Batch(1)]);
    let given = graph.reshape(given, vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)]);
    let zero = graph.scalar_like(normalized, 0.0);
    graph.choose(given, normalized, zero)
}

/// What there is of cases that lack something and are answered all the same.
struct IncompleteCase {
    /// The images.
    images: Vec<Modality>,
    /// Whether anything is recorded.
    recorded: bool,
    /// The branches that answer, in order.
    answering: Vec<BranchInfo>,
}

impl IncompleteCase {
    /// The missing images that some of the branches look at: they see zeros.
    fn zeros(&self, branches: &[BranchInfo]) -> Vec<Modality> {
        kinds_of(seen_by_branches(branches)).filter(|image| !self.images.contains(image)).collect()
    }

    /// What the outputs' names begin with.
    fn outputs(&self) -> String {
        let there: Vec<&str> =
            self.images.iter().map(|image| image.name()).chain(self.recorded.then_some("record")).collect();
        match there.is_empty() {
            true => "from nothing".to_owned(),
            false => format!("from {}", there.join("+")),
        }
    }
}

/// What any of the branches looks at.
fn seen_by_branches(branches: &[BranchInfo]) -> Modalities {
    branches.iter().fold(Modalities::default(), |all, branch| all.and(branch.needs))
}

/// The incomplete cases that the model answers; `has_record` says whether it is asked about a record.
fn incomplete_cases(bundle: &Bundle, has_record: bool) -> Vec<IncompleteCase> {
    let all: Vec<Modality> = kinds_of(bundle.network.modalities()).collect();
    let subsets: &[&[Modality]] = match all.as_slice() {
        [_, _] => &[&Modality::BOTH, &[Modality::Clinical], &[Modality::Dermoscopic], &[]],
        [Modality::Clinical] => &[&[Modality::Clinical], &[]],
        [Modality::Dermoscopic] => &[&[Modality::Dermoscopic], &[]],
        _ => &[&[]],
    };
    let mut cases = Vec::new();
    for recorded in if has_record { vec![true, false] } else { vec![false] } {
        for images in subsets {
            if images.len() == all.len() && recorded == has_record {
                continue;
            }
            let there = Modalities {
                clinical: images.contains(&Modality::Clinical),
                dermoscopic: images.contains(&Modality::Dermoscopic),
                metadata: recorded,
            };
            let branches = bundle.network.branches().into_iter().zip(bundle.answering(there));
            let answering: Vec<BranchInfo> =
                branches.filter_map(|(branch, answers)| answers.then_some(branch)).collect();
            if !answering.is_empty() {
                cases.push(IncompleteCase { images: images.to_vec(), recorded, answering });
            }
        }
    }
    cases
}

/// Adds outputs that answer for cases of which the same is there.
fn partial_answer(
    bundle: &Bundle,
    graph: &mut Graph,
    logits: &GraphLogits<'_>,
    case: &IncompleteCase,
) -> PartialAnswer {
    let two_stage = &bundle.two_stage;
    let IncompleteCase { images, recorded, answering } = case;
    let is_there = |name: &str| answering.iter().any(|branch| branch.name == name);
    let branches = logits.branches.iter().filter(|(name, _)| is_there(name)).cloned().collect();
    let own = GraphLogits { tasks: logits.tasks, branches, record: logits.record };
    let GraphAnswer { row, basis } = two_stage.add_answer_to(graph, &own, *recorded);
    let outputs = case.outputs();
    for (task, &probabilities) in logits.tasks.iter().zip(&row.probabilities) {
        let numbers = graph.cast(probabilities, Element::F32);
        graph.output(&format!("{outputs}/{}", task.name), numbers);
    }
    let used: Vec<BranchInfo> =
        answering.iter().filter(|branch| basis.branches.iter().any(|name| name == branch.name)).copied().collect();
    let seen = seen_by_branches(&used);
    let name = |image: &Modality| image.name();
    PartialAnswer {
        images: images.iter().map(name).collect(),
        record: *recorded,
        outputs,
        stage: row.name,
        sees: kinds_of(seen).filter(|image| images.contains(image)).map(|image| image.name()).collect(),
        sees_record: *recorded && sees_record(bundle, seen),
        empty_record: !recorded && seen.metadata,
        zeros: case.zeros(&used).iter().map(name).collect(),
        first_stage: two_stage.second_stage.is_some() && !recorded,
        notes: basis.notes,
    }
}

/// Whether the answer to a case with a record stands on it, where its branches look at `seen`.
fn sees_record(bundle: &Bundle, seen: Modalities) -> bool {
    seen.metadata || (bundle.two_stage.second_stage.is_some() && bundle.two_stage.mix < 1.0)
}

/// What the answer to a case that lacks nothing stands on, and what must be said of it.
fn complete(bundle: &Bundle) -> Json {
    let branches = bundle.network.branches();
    let names = branches.iter().map(|branch| branch.name);
    let GraphBasis { branches: used, notes } = bundle.two_stage.graph_basis(&bundle.description.tasks, names, true);
    let used: Vec<BranchInfo> =
        branches.into_iter().filter(|branch| used.iter().any(|name| name == branch.name)).collect();
    let seen = seen_by_branches(&used);
    let images: Vec<&str> = kinds_of(seen).map(|image| image.name()).collect();
    json!({ "sees": images, "sees_record": sees_record(bundle, seen), "notes": notes })
}

/// What the model answers and no file says.
fn left_out(bundle: &Bundle) -> Vec<String> {
    let BundleDescription { several_images, out_of_distribution, encoder, .. } = &bundle.description;
    let mut left_out = vec!["what is found in pictures before they are resized, such as blur".to_owned()];
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
    left_out
}

/// What whoever reads the file must know.
fn properties(
    model: &Model,
    precision: Precision,
    ends_at: &str,
    partial: &[PartialAnswer],
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
        ("complete", complete(bundle).to_string()),
        ("partial", json!(partial).to_string()),
        ("left_out", json!(left_out).to_string()),
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
