//! The whole answer of a model as an ONNX file: from bytes of pixels to the probabilities of its last stage.

use dermafuse_data::{ChannelOrder, Normalization, Preprocess};
use dermafuse_ensemble::GraphLogits;
use dermafuse_networks::{Modalities, Network};
use dermafuse_onnx::{Dim, Element, Graph, NetworkInputs, OnnxError, OnnxModel, Value, Values, add_network};
use dermafuse_schema::SeveralImages;
use serde_json::{Value as Json, json};

use crate::{Bundle, BundleDescription, InferError, Model, View, kinds_of, sha256_hex};

/// The version of what the properties of a file say.
const FORMAT: &str = "1";

/// A model as an ONNX file that gives its whole answer.
#[derive(Clone, Debug)]
pub struct OnnxAnswer {
    /// The file. Inputs: `clinical` and `dermoscopic`, bytes `[N, S, S, 3]` of RGB images that are resized already, and `record` `[N, M]`, the
    /// encoded record, those that the model looks at. Outputs: the name of each task, `[N, K_t]` probabilities; `ROW/TASK` for the rows
    /// before it, such as `P_1/diagnosis`; `embedding` `[N, D]`.
    pub model: OnnxModel,
    /// The row that the outputs with the tasks' names are: `P_1`, `P_3`, `P_3 calibrated`, ….
    pub ends_at: String,
    /// What the model answers and the file does not, a sentence each.
    pub left_out: Vec<String>,
}

impl Model {
    /// The model as an ONNX file that needs no other: normalisation, views, network, branch weights, second stage, calibration and
    /// prevalence are inside, and what is known of the model is in its properties, whose keys begin with `dermafuse.`.
    ///
    /// The answers are those of [`Model::predict`] for cases that lack no image and no record and have one image of each kind. Numbers
    /// after the network are 64-bit floats, as here; the network's are those of whatever runs the file.
    ///
    /// # Errors
    /// An operation of the network that cannot be written, by its name and layer; a file of more than 2 GB; a model that asks for what other
    /// models say.
    pub fn to_onnx(&self) -> Result<OnnxAnswer, InferError> {
        let bundle = self.bundle();
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
        let image = |graph: &mut Graph, is_there: bool, name: &str| {
            is_there.then(|| {
                let bytes = graph.input(name, Element::U8, shape.clone());
                let normalized = normalized(graph, preprocess, bytes);
                seen_by(graph, views, normalized)
            })
        };
        let clinical = image(&mut graph, looks_at.clinical, "clinical");
        let dermoscopic = image(&mut graph, looks_at.dermoscopic, "dermoscopic");
        let needs_record = looks_at.metadata || bundle.two_stage.second_stage.is_some();
        let record = (needs_record && width > 0)
            .then(|| graph.input("record", Element::F32, vec![Dim::Batch(1), Dim::Fixed(width)]));
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
        let ends_at = last.name.clone();
        let mut left_out = left_out(bundle);
        for row in &rows {
            for task in &row.unchanged {
                left_out.push(format!("`{}` leaves the task `{task}` as it was: nothing was fitted to it", row.name));
            }
        }
        let properties = properties(self, &ends_at, &left_out)?;
        let model = graph.into_model("model", &properties).map_err(OnnxError::from)?;
        Ok(OnnxAnswer { model, ends_at, left_out })
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

/// What the model answers and no file says.
fn left_out(bundle: &Bundle) -> Vec<String> {
    let BundleDescription { several_images, out_of_distribution, modality_dropout, .. } = &bundle.description;
    let mut left_out = vec![
        "cases that lack an image or the record: the file answers for cases that have all that the model looks at"
            .to_owned(),
        "what is found in pictures before they are resized, such as blur".to_owned(),
    ];
    if *several_images != SeveralImages::First {
        left_out.push("several images of a kind of one case: ask about each, and take the mean of `P_1`".to_owned());
    }
    if out_of_distribution.is_some() {
        left_out.push("how far a case is from those of the training; `embedding` is what it is told from".to_owned());
    }
    if modality_dropout.is_some() || bundle.network.answers_by_subset() {
        left_out.push("which part of the model answers where something is missing".to_owned());
    }
    left_out
}

/// What whoever reads the file must know.
fn properties(model: &Model, ends_at: &str, left_out: &[String]) -> Result<Vec<(String, String)>, InferError> {
    let bundle = model.bundle();
    let record = match model.fields().is_empty() {
        true => Vec::new(),
        false => bundle.description.encoder.encoded_columns(),
    };
    let texts = [
        ("format", FORMAT.to_owned()),
        ("stage", ends_at.to_owned()),
        ("ends_at", ends_at.to_owned()),
        ("left_out", json!(left_out).to_string()),
        ("record", json!(record).to_string()),
        ("description", description(model)?.to_string()),
    ];
    Ok(texts.into_iter().map(|(key, text)| (format!("dermafuse.{key}"), text)).collect())
}

fn description(model: &Model) -> Result<Json, InferError> {
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
