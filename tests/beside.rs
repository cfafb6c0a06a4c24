//! What goes on beside the loop: long work, which outlives the process that began it, and watchers, which do not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::mpsc::Sender;
use windlass::clock::Clock;
use windlass::execute::{Edges, Fence, LongWork, Open, Watcher, perform};
use windlass::live::{Event, Folder, Seen, Watched, WriteAnswer};
use windlass::model::decision::Key;
use windlass::model::effect::{Effect, EffectKey, LongState};
use windlass::model::live::Probe;

use crate::world::World;
use crate::world::fixtures::workers_only;
use crate::world::process::{MINUTE, SECOND};

/// How long the work goes on: much longer than after which a call counts as lost.
pub const LENGTH: SignedDuration = SignedDuration::from_mins(5);
const NAME: &str = "snapshot-1";

/// The smallest long work: it begins, takes its time in the world, and is done. It is the world: processes come and
/// go over it.
pub struct Slow {
    clock: Clock,
    /// When each was begun, by name.
    begun: Mutex<BTreeMap<String, Timestamp>>,
    times: Mutex<u32>,
    /// Whether the world answers.
    pub silent: AtomicBool,
}

impl Slow {
    pub fn new(clock: &Clock) -> Arc<Self> {
        Arc::new(Self {
            clock: clock.clone(),
            begun: Mutex::default(),
            times: Mutex::default(),
            silent: AtomicBool::new(false),
        })
    }

    /// How many pieces of work there were.
    pub fn begun(&self) -> u32 {
        *self.times.lock().unwrap()
    }
}

impl LongWork for Slow {
    fn begin<'a>(&'a self, name: &'a str) -> BoxFuture<'a, WriteAnswer> {
        Box::pin(async move {
            self.clock.sleep(SECOND).await;
            self.begun.lock().unwrap().entry(name.to_owned()).or_insert_with(|| {
                *self.times.lock().unwrap() += 1;
                self.clock.now()
            });
            WriteAnswer::Done
        })
    }

    fn look<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<LongState, String>> {
        Box::pin(async move {
            if self.silent.load(Ordering::SeqCst) {
                return Err("no answer".to_owned());
            }
            let begun = self.begun.lock().unwrap().get(name).copied();
            Ok(match begun.map(|begun| self.clock.now().duration_since(begun)) {
                None => LongState::NotBegun,
                Some(passed) if passed < LENGTH => LongState::Running,
                Some(_) => LongState::Done,
            })
        })
    }
}

fn edges(world: &World, work: &Arc<Slow>) -> Edges {
    let edges = Edges::new(world.cluster(), world.clock.clone()).with_long_work(work.clone());
    *edges.deadline.lock().unwrap() = Some(Timestamp::MAX);
    edges
}

fn begin() -> Effect {
    Effect::BeginLong { name: NAME.to_owned() }
}

/// One process with such work to do, which knows nothing but what it sees; whether it came to the end of it. It looks
/// before it begins, and begins only what is not begun.
pub async fn carry_on(world: &World, work: &Arc<Slow>, fence: &dyn Fence) -> bool {
    let (edges, key, clock) = (edges(world, work), EffectKey::Long(NAME.to_owned()), &world.clock);
    let mut folder = Folder::default();
    loop {
        let probe = Probe::Long(NAME.to_owned());
        let asked = clock.now();
        let answer = edges.ask(&probe).await;
        folder.fold(Seen::Probed { probe, answer, asked }, clock.now());
        // As the loop does: what has not answered by its deadline counts as lost.
        folder.live.overlay.in_flight.forget_until(clock.now());
        match folder.live.long.get(NAME) {
            None => {}
            Some(LongState::NotBegun) => {
                assert!(!folder.live.overlay.in_flight.contains(&key));
                let effect = begin();
                assert_eq!(effect.key(), key);
                let Some(seen) = Box::pin(perform(&edges, effect, clock.now(), fence)).await else {
                    return false;
                };
                folder.fold(seen, clock.now());
            }
            Some(LongState::Running) => assert!(folder.live.overlay.in_flight.contains(&key)),
            Some(LongState::Done) => return true,
            Some(LongState::Failed(why)) => panic!("{why}"),
        }
        clock.sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_is_begun_twice_is_one() {
    let world = World::new();
    let work = Slow::new(&world.clock);
    // Both look before either has begun.
    let both = tokio::join!(carry_on(&world, &work, &Open), carry_on(&world, &work, &Open));
    assert_eq!((both, work.begun()), ((true, true), 1));
    let edges = edges(&world, &work);
    let again = perform(&edges, begin(), world.clock.now(), &Open).await;
    assert!(matches!(again, Some(Seen::Done(EffectKey::Long(_), WriteAnswer::Done))));
    assert_eq!(work.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn work_of_which_the_world_tells_nothing_is_not_begun() {
    let world = World::new();
    let work = Slow::new(&world.clock);
    work.silent.store(true, Ordering::SeqCst);
    tokio::select! {
        _ = carry_on(&world, &work, &Open) => panic!("it cannot know"),
        () = world.pass(MINUTE) => assert_eq!(work.begun(), 0),
    }
    work.silent.store(false, Ordering::SeqCst);
    assert!(carry_on(&world, &work, &Open).await);
    assert_eq!(work.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_past_the_leases_deadline_or_where_nothing_can_begin_it() {
    let world = World::new();
    let work = Slow::new(&world.clock);
    let late = edges(&world, &work);
    *late.deadline.lock().unwrap() = Some(world.clock.now());
    for edges in [late, Edges::new(world.cluster(), world.clock.clone())] {
        let seen = perform(&edges, begin(), world.clock.now(), &Open).await.unwrap();
        let mut folder = Folder::default();
        folder.fold(seen, world.clock.now());
        assert_eq!(folder.live.long.get(NAME), None);
        assert!(folder.live.overlay.backoff.contains_key(&EffectKey::Long(NAME.to_owned())));
    }
    assert_eq!(work.begun(), 0);
}

/// Tells of a stop after a while, as one that looks elsewhere than into the cluster could.
struct Bell(Arc<AtomicBool>);

/// True while the watcher lives.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Watcher for Bell {
    fn watch(&self, clock: Clock, seen: Sender<Seen>) -> BoxFuture<'static, ()> {
        let alive = Alive(self.0.clone());
        alive.0.store(true, Ordering::SeqCst);
        Box::pin(async move {
            let _alive = alive;
            clock.sleep(MINUTE).await;
            let note = json!({"metadata": {"name": "windlass-stop", "uid": "1"}, "data": {"reason": "the bell rang"}});
            let note = Box::new(serde_json::from_value(note).unwrap());
            seen.send(Seen::Watched(Watched::Stop(Event::Applied(note)))).await.unwrap();
            std::future::pending::<()>().await;
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_feeds_the_loop_as_long_as_the_loop_lives() {
    let mut world = workers_only(2).await;
    let alive = Arc::new(AtomicBool::new(false));
    world.watcher = Some(Arc::new(Bell(alive.clone())));
    let process = world.daemon();
    world.pass(SECOND * 30).await;
    assert!(alive.load(Ordering::SeqCst));
    assert!(!process.says(Key::Stopped, "cluster/demo"));
    world.pass(SECOND * 40).await;
    assert!(process.says(Key::Stopped, "cluster/demo"), "{:#?}", process.view());
    assert!(alive.load(Ordering::SeqCst));
    process.end().await;
    assert!(!alive.load(Ordering::SeqCst), "it ends with the loop");
}
