//! The whole answer of a model as an ONNX file: from bytes of pixels to the probabilities of its last stage.

use dermafuse_backbones::parameter_count;
use dermafuse_data::{ChannelOrder, Normalization, OutsideModel, Preprocess, source_beside_others};
use dermafuse_ensemble::{GraphAnswer, GraphBasis, GraphLogits};
use dermafuse_networks::{BranchInfo, Modalities, Network};
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
    /// already; `clinical_given` and `dermoscopic_given`, truth values `[N]`, whether a case has the image, where a network that was trained
    /// to miss it sees zeros in its place; `record` `[N, M]`, the encoded record; and the name of each other model, `[N, K]`, the
    /// probabilities that it gives. Outputs: the name of each task, `[N, K_t]` probabilities; `ROW/TASK` for the rows before it, such as
    /// `P_1/diagnosis`; `from BASIS/TASK` for cases that lack something; `embedding` `[N, D]`, where there is a network.
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

/// The outputs of a file that answer for cases which lack something. What stands in the place of a missing image has no say in them, if its
/// input `…_given` says that it is missing; nor has the record of a case without one, unless `empty_record` says so.
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
    /// Whether a part of the network looks at the record although there is none: the input `record` has to be the encoding of a record in
    /// which nothing is recorded.
    pub empty_record: bool,
    /// The missing images that a part of the network looks at all the same, as zeros: their inputs `…_given` have to be false.
    pub zeros: Vec<&'static str>,
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
    /// The answers are those of [`Model::predict`] for cases that have one image of each kind and a record; for those of the others that the
    /// model answers there are outputs of their own ([`PartialAnswer`]). Numbers after the network are
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
        let BundleDescription { tasks, preprocess, encoder, augmentation, .. } = &bundle.description;
        let outside = asked_others(bundle);
        check_names(outside, tasks)?;
        let mut graph = Graph::new();
        let (looks_at, views) = (bundle.network.modalities(), augmentation.views());
        let width = encoder.width();
        let size = preprocess.size;
        let shape = vec![Dim::Batch(1), Dim::Fixed(size), Dim::Fixed(size), Dim::Fixed(3)];
        let stands_in = stands_in(bundle, outside);
        let needs_record = (looks_at.metadata && !stands_in) || bundle.two_stage.second_stage.is_some();
        let has_record = needs_record && width > 0;
        let incomplete = incomplete_cases(bundle, outside, has_record);
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
        let partial: Vec<PartialAnswer> =
            incomplete.iter().map(|case| partial_answer(bundle, &mut graph, &logits, case)).collect();
        let ends_at = last.name.clone();
        let mut left_out = left_out(bundle, outside);
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
    /// The other models that say something.
    said: Vec<String>,
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
        let there: Vec<&str> = self
            .images
            .iter()
            .map(|image| image.name())
            .chain(self.said.iter().map(String::as_str))
            .chain(self.recorded.then_some("record"))
            .collect();
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

/// The incomplete cases that the model answers, which asks these other models; `has_record` says whether it is asked about a record.
fn incomplete_cases(bundle: &Bundle, outside: &[OutsideModel], has_record: bool) -> Vec<IncompleteCase> {
    let all: Vec<Modality> = kinds_of(bundle.network.modalities()).collect();
    let subsets: &[&[Modality]] = match all.as_slice() {
        [_, _] => &[&Modality::BOTH, &[Modality::Clinical], &[Modality::Dermoscopic], &[]],
        [Modality::Clinical] => &[&[Modality::Clinical], &[]],
        [Modality::Dermoscopic] => &[&[Modality::Dermoscopic], &[]],
        _ => &[&[]],
    };
    let stands_in = stands_in(bundle, outside);
    let recorded = if has_record { vec![true, false] } else { vec![false] };
    let given = recorded
        .into_iter()
        .flat_map(|recorded| said_by(outside, all.is_empty()).into_iter().map(move |said| (recorded, said)));
    let mut cases = Vec::new();
    for (recorded, said) in given {
        for images in subsets {
            if images.len() == all.len() && recorded == has_record && said.len() == outside.len() {
                continue;
            }
            let there = Modalities {
                clinical: images.contains(&Modality::Clinical),
                dermoscopic: images.contains(&Modality::Dermoscopic),
                metadata: recorded,
            };
            let branches = bundle.network.branches().into_iter().zip(bundle.answering(there));
            let answering = branches.filter(|(_, answers)| *answers && (!stands_in || said.is_empty()));
            let answering: Vec<BranchInfo> = answering.map(|(branch, _)| branch).collect();
            // Where a network looks at images, what another model says is not enough.
            if !answering.is_empty() || (!said.is_empty() && all.is_empty()) {
                cases.push(IncompleteCase { images: images.to_vec(), recorded, said: said.clone(), answering });
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
    let IncompleteCase { images, recorded, said, answering } = case;
    let is_there =
        |name: &str| answering.iter().any(|branch| branch.name == name) || said.iter().any(|own| own == name);
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
        models: said.clone(),
        outputs,
        stage: row.name,
        sees: kinds_of(seen).filter(|image| images.contains(image)).map(|image| image.name()).collect(),
        sees_record: *recorded && sees_record(bundle, seen),
        // What stands in for a network knows nothing of a record, either.
        empty_record: !recorded && seen.metadata && !stands_in(bundle, asked_others(bundle)),
        zeros: case.zeros(&used).iter().map(name).collect(),
        sees_models: said.iter().filter(|name| basis.branches.contains(name)).cloned().collect(),
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
    let outside = asked_others(bundle);
    let own = if stands_in(bundle, outside) { Vec::new() } else { bundle.network.branches() };
    let names = own.iter().map(|branch| branch.name).chain(outside.iter().map(|model| model.name.as_str()));
    let GraphBasis { branches: used, notes } = bundle.two_stage.graph_basis(&bundle.description.tasks, names, true);
    let is_used = |name: &str| used.iter().any(|used| used == name);
    let seen: Vec<BranchInfo> = own.into_iter().filter(|branch| is_used(branch.name)).collect();
    let seen = seen_by_branches(&seen);
    let images: Vec<&str> = kinds_of(seen).map(|image| image.name()).collect();
    let mut complete = json!({ "sees": images, "sees_record": sees_record(bundle, seen), "notes": notes });
    if !outside.is_empty() {
        let models: Vec<&str> = outside.iter().map(|model| model.name.as_str()).filter(|name| is_used(name)).collect();
        complete["sees_models"] = json!(models);
    }
    complete
}

/// The other models that are asked. A second stage that looks at the record alone asks nobody else.
fn asked_others(bundle: &Bundle) -> &[OutsideModel] {
    if bundle.two_stage.is_of_metadata_alone() { &[] } else { &bundle.description.outside }
}

/// Whether the network knows nothing and answers only where no other model says anything, as in a [`Predictor`](crate::Predictor).
fn stands_in(bundle: &Bundle, outside: &[OutsideModel]) -> bool {
    !outside.is_empty() && bundle.description.heads.is_none() && parameter_count(&bundle.network) == 0
}

/// What the model answers and no file says.
fn left_out(bundle: &Bundle, outside: &[OutsideModel]) -> Vec<String> {
    let BundleDescription { several_images, out_of_distribution, encoder, .. } = &bundle.description;
    let mut left_out = vec!["what is found in pictures before they are resized, such as blur".to_owned()];
    let has_images = kinds_of(bundle.network.modalities()).next().is_some();
    if said_by(outside, !has_images).len() < 1 << outside.len().min(16) {
        left_out.push("cases of which some of the other models say something, but not all".to_owned());
    }
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
        ("complete", complete(bundle).to_string()),
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
