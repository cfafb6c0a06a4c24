//! Takes an addon that is described by manifests back to what the commit asked for with which it was applied last. What is
//! applied comes from that commit, never from the record.

use super::back::went_back;
use super::hand::Hand;
use super::objects::{Carried, carry, comparing, is_recent, objection};
use super::turn::{LOOK_AGAIN, Turn};
use crate::model::addon::{AddonManifests, AddonMove, AddonSteps, EarlierQuestion};
use crate::model::decision::{Gate, Key, Reason};
use crate::model::live::Probe;
use crate::model::manifest::{ManifestsMove, ObjectRef};
use crate::record::GoingBack;

pub(super) fn objects_back(hand: &Hand<'_>, mv: &AddonMove, back: &GoingBack, turn: Turn) -> Turn {
    let Some(applied) = hand.record.addon_applied.get(&mv.name) else {
        return went_back(hand, back, turn, "no commit is known to which it could go back".to_owned());
    };
    let earlier = hand.live.earlier_addons.get(&mv.name).filter(|earlier| earlier.commit == applied.commit);
    let Some(earlier) = earlier else {
        let question = EarlierQuestion { addon: mv.name.clone(), commit: applied.commit.clone() };
        let text = format!("it goes back, and commit {} is being read", applied.commit.short());
        let turn = turn.probe(Probe::Earlier(question), LOOK_AGAIN).moving();
        return turn.waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text));
    };
    let found = earlier.found.as_ref().map(|addon| addon.source.manifests().map(|asked| (addon, asked)));
    let (addon, asked) = match found {
        Ok(Some(found)) => found,
        Ok(None) => {
            let text =
                format!("it did not go back: commit {} has no manifests of it", applied.commit.short());
            return went_back(hand, back, turn, text);
        }
        Err(why) => return went_back(hand, back, turn, format!("it did not go back: {why}")),
    };
    if asked.digest != applied.digest {
        let text = format!(
            "it did not go back: commit {} has another content than was applied",
            applied.commit.short()
        );
        return went_back(hand, back, turn, text);
    }
    if let Some((object, other)) = given_away(hand, mv, asked) {
        let text = format!("it did not go back: {object} belongs to the addon {other} by now");
        return went_back(hand, back, turn, text);
    }
    let before = hand.record.addon_objects.get(&mv.name);
    let turn = turn.probe(
        addon.probe(hand.live, before, (&mv.kubernetes, &AddonSteps::Planned(Vec::new()))),
        LOOK_AGAIN,
    );
    let read = hand.live.manifests_of(&mv.name, &asked.digest).filter(|read| is_recent(hand, read));
    let Some(read) = read else { return comparing(hand, turn) };
    if let Some(reason) = objection(hand, read) {
        return went_back(hand, back, turn, format!("it did not go back: {}", reason.text));
    }
    let left = read.gone.iter().filter(|(_, gone)| !gone.is_settled());
    let of = ManifestsMove {
        folder: asked.folder.clone(),
        digest: asked.digest.clone(),
        objects: asked.objects.iter().map(|manifest| manifest.object.clone()).collect(),
        removed: left.map(|(object, _)| object.clone()).collect(),
        ..ManifestsMove::default()
    };
    let version = &addon.version;
    match carry(hand, (mv, &of, read), back.seq, turn) {
        Carried::Goes(turn) => turn,
        Carried::Whole(turn) => went_back(hand, back, turn, format!("it went back to {version}")),
        Carried::Failed(turn, why) => {
            went_back(hand, back, turn, format!("it goes back to {version}, and {why}"))
        }
    }
}

/// An object that another addon of the present commit has.
fn given_away<'a>(hand: &Hand<'a>, mv: &AddonMove, asked: &AddonManifests) -> Option<(ObjectRef, &'a str)> {
    let others = hand.live.addon_manifests.iter().filter(|(name, _)| **name != mv.name);
    let mut theirs = others.flat_map(|(name, read)| {
        read.question.objects.iter().map(move |manifest| (&manifest.object, name.as_str()))
    });
    let ours = |object: &ObjectRef| asked.objects.iter().any(|manifest| manifest.object.is_same_as(object));
    theirs.find(|(object, _)| ours(object)).map(|(object, name)| (object.clone(), name))
}
