//! What is shown of each case of an epoch, where training leaves out images and records at random.

use dermafuse_data::{DataError, MatchedEncoder, Modality, ModalityDropout, Shown};
use dermafuse_infer::{kinds_of, may_miss, modalities_of};
use dermafuse_networks::{Modalities, Network};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{Case, FieldValue};

use crate::{TrainError, TrainingCases};

/// What is shown of the cases of an epoch, in its order.
#[derive(Clone, Debug)]
pub(crate) struct ShownCases {
    dropout: ModalityDropout,
    shown: Vec<Shown>,
}

impl ShownCases {
    /// Draws it for the `order` of an epoch. Of what the network does not look at, nothing is drawn.
    pub(crate) fn draw(
        dropout: ModalityDropout,
        looked_at: Modalities,
        cases: &TrainingCases<'_>,
        order: &[usize],
        (seed, epoch): (u64, u64),
    ) -> Result<Self, TrainError> {
        let set = cases.train.set();
        let matched = cases.encoder.matched(&set.fields)?;
        let mut times = vec![0; set.len()];
        let mut shown = Vec::with_capacity(order.len());
        for &row in order {
            let case = &set.cases[row];
            let there = modalities_of(case, matched.has_metadata(case)?);
            let there = Shown {
                clinical: there.clinical && looked_at.clinical,
                dermoscopic: there.dermoscopic && looked_at.dermoscopic,
                metadata: there.metadata && looked_at.metadata,
            };
            shown.push(dropout.shown(seed, epoch, row, times[row], there));
            times[row] += 1;
        }
        Ok(Self { dropout, shown })
    }

    /// What is shown of each case.
    pub(crate) fn each(&self) -> &[Shown] {
        &self.shown
    }

    /// Which branches learn from the case at a place of the order.
    pub(crate) fn seeing<N: Network>(&self, network: &N, at: usize) -> Vec<bool> {
        let Shown { clinical, dermoscopic, metadata } = self.shown[at];
        network.seeing_despite(Modalities { clinical, dermoscopic, metadata }, may_miss(Some(self.dropout)))
    }

    /// Takes the records away that are not shown: `records` are those of the cases from the place `first` of the order on.
    pub(crate) fn hide_records(
        &self,
        first: usize,
        records: &mut Array2<f64>,
        matched: &MatchedEncoder<'_>,
        fields: usize,
    ) -> Result<(), DataError> {
        let blank = Case { metadata: vec![FieldValue::Missing; fields], ..Case::new("") };
        let blank = matched.encode(&blank)?;
        for (shown, mut record) in self.shown[first..].iter().zip(records.rows_mut()) {
            if !shown.metadata {
                record.iter_mut().zip(&blank).for_each(|(to, from)| *to = *from);
            }
        }
        Ok(())
    }
}

/// Checks that the network can learn to do without what is left out.
pub(crate) fn check_dropout<N: Network>(dropout: ModalityDropout, network: &N) -> Result<(), TrainError> {
    let error = |setting, expected, found: String| Err(TrainError::Setting { setting, expected, found });
    let (looked_at, missed) = (network.modalities(), may_miss(Some(dropout)));
    let views = kinds_of(looked_at).map(Modality::name).chain(looked_at.metadata.then_some("the record"));
    let views = views.collect::<Vec<_>>().join(", ");
    if !missed.are_among(looked_at) {
        let expected = "of what the network looks at";
        return error("modality_dropout", expected, format!("more than {views}"));
    }
    if [looked_at.clinical, looked_at.dermoscopic, looked_at.metadata].iter().filter(|looks| **looks).count() < 2 {
        return error("modality_dropout", "for a network that looks at two or more of image and record", views);
    }
    match network.auxiliary().first() {
        Some(own) if missed.clinical || missed.dermoscopic => {
            let expected = "of the record alone where a loss of the network's own is of both images";
            error("modality_dropout", expected, format!("of images, beside the loss `{own}`"))
        }
        _ => Ok(()),
    }
}
