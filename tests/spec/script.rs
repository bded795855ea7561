//! Plays the script that a file of the testsuite is: makes instances, calls what is to be called, and gives a verdict on each
//! directive, without hooks or with those of one hook set in every module.
//!
//! The reference model is the script without hooks, and what the file itself expects:
//!
//! ```text
//! file.wast ── wast ──→ steps ─┬─ play, no hooks ─────→ verdict of each step  ── against the file: wrong ones must be
//!                              │                              │                  listed in `suites.rs`
//!                              │                              │ equal, step for step
//!                              ├─ play, hooks observe ──→ verdict │ calls told
//!                              ├─ play, hooks buffer ───→ verdict │ calls told    ── as many as with observe
//!                              └─ play, hooks threshold ─→ verdict
//!
//! play:  one world; each module hooked by itself, linked by `register`; after each call the events of all instances balance
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{Extern, Instance, Val};
use wasmtrace::trace::{EventKind, RunOutcome};
use wast::token::Id;
use wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use super::hooked::{Flavour, Prepared, Ready, or_panic, prepared};
use super::{spectest, values};
use testing::balance::{Known, assert_all_balanced};
use testing::host::{Call, World};

/// One directive, with its modules encoded.
pub struct Step<'a> {
    pub line: usize,
    pub what: What<'a>,
}

pub enum What<'a> {
    /// Make an instance, which becomes the one that is meant where none is named.
    Module(Option<Id<'a>>, Arc<Prepared>),
    /// Keep a module, to make instances of it.
    Definition(Option<Id<'a>>, Arc<Prepared>),
    Instance {
        instance: Option<Id<'a>>,
        definition: Option<Id<'a>>,
    },
    Register(&'a str, Option<Id<'a>>),
    /// Do something, and expect something of it.
    Do(Deed<'a>, Expected<'a>),
    /// No parser accepts this. `None`: it is text that is no module, so that nothing comes to us.
    Refused(Option<Vec<u8>>),
    /// No file has it.
    Unknown,
}

pub enum Deed<'a> {
    Invoke(WastInvoke<'a>),
    Instantiate(Arc<Prepared>),
    Get(Option<Id<'a>>, &'a str),
}

pub enum Expected<'a> {
    /// To return, whatever.
    Return,
    Results(Vec<WastRet<'a>>),
    /// To trap, for this reason.
    Trap(&'a str),
    Exception,
    /// There is to be no instance.
    Unlinkable,
}

impl Step<'_> {
    /// The module in it that is valid.
    pub fn valid_module(&self) -> Option<&Arc<Prepared>> {
        match &self.what {
            What::Module(_, module) | What::Definition(_, module) | What::Do(Deed::Instantiate(module), _) => {
                Some(module)
            }
            _ => None,
        }
    }

    /// Whether it asserts anything of a module that comes to us.
    pub fn is_assertion(&self) -> bool {
        matches!(&self.what, What::Do(_, expected) if !matches!(expected, Expected::Return))
            || matches!(self.what, What::Refused(Some(_)))
    }
}

/// Reads the directives of a file, and hooks the modules in them. The error says in which line something is wrong.
pub fn steps<'a>(text: &str, directives: Vec<WastDirective<'a>>) -> Result<Vec<Step<'a>>, String> {
    let read = |directive: WastDirective<'a>| {
        let line = directive.span().linecol_in(text).0 + 1;
        match what(directive) {
            Ok(what) => Ok(Step { line, what }),
            Err(why) => Err(format!("line {line}: {why}")),
        }
    };
    directives.into_iter().map(read).collect()
}

fn what(directive: WastDirective<'_>) -> Result<What<'_>, String> {
    let module = |wasm: Result<Vec<u8>, wast::Error>| prepared(wasm.map_err(|e| e.message())?).map(Arc::new);
    let deed = |exec| -> Result<Deed<'_>, String> {
        Ok(match exec {
            WastExecute::Invoke(invoke) => Deed::Invoke(invoke),
            WastExecute::Wat(mut wat) => Deed::Instantiate(module(wat.encode())?),
            WastExecute::Get { module, global, .. } => Deed::Get(module, global),
        })
    };
    Ok(match directive {
        WastDirective::Module(mut wat) => What::Module(wat.name(), module(wat.encode())?),
        WastDirective::ModuleDefinition(mut wat) => What::Definition(wat.name(), module(wat.encode())?),
        WastDirective::ModuleInstance { instance, module, .. } => What::Instance { instance, definition: module },
        WastDirective::Register { name, module, .. } => What::Register(name, module),
        WastDirective::Invoke(invoke) => What::Do(Deed::Invoke(invoke), Expected::Return),
        WastDirective::AssertReturn { exec, results, .. } => What::Do(deed(exec)?, Expected::Results(results)),
        WastDirective::AssertTrap { exec, message, .. } => What::Do(deed(exec)?, Expected::Trap(message)),
        WastDirective::AssertExhaustion { call, message, .. } => What::Do(Deed::Invoke(call), Expected::Trap(message)),
        WastDirective::AssertException { exec, .. } => What::Do(deed(exec)?, Expected::Exception),
        WastDirective::AssertUnlinkable { module, .. } => {
            What::Do(deed(WastExecute::Wat(module))?, Expected::Unlinkable)
        }
        WastDirective::AssertInvalid { module, .. } | WastDirective::AssertMalformed { module, .. } => {
            What::Refused(refused(module))
        }
        _ => What::Unknown,
    })
}

/// The bytes of a module that is to be refused; none if the parser of text refuses it.
fn refused(mut module: QuoteWat<'_>) -> Option<Vec<u8>> {
    match &mut module {
        QuoteWat::Wat(Wat::Component(_)) | QuoteWat::QuoteComponent(..) => None,
        module => module.encode().ok(),
    }
}

/// What came of one step.
pub struct Played {
    pub line: usize,
    /// It was as the file says; or what was not.
    pub verdict: Result<(), String>,
    /// How many calls its hooks told of. (Not how they ended: of one that an exception crosses which nobody catches, the Observe
    /// set tells, and a buffer does not.)
    pub calls: usize,
    /// Whether the stack ran out, which depends on the hooks.
    pub exhausted: bool,
}

/// Plays every step. Of those that only need a module to be read there is nothing to tell here.
pub fn play(steps: &[Step<'_>], flavour: Flavour) -> Vec<Played> {
    let mut world = World::new(flavour.host());
    let spectest = spectest::imports(&mut world);
    let mut stage = Stage {
        flavour,
        world,
        known: Vec::new(),
        definitions: HashMap::new(),
        instances: HashMap::new(),
        registered: HashMap::from([("spectest".to_owned(), spectest)]),
    };
    let mut played = Vec::new();
    for step in steps {
        stage.world.forget();
        let verdict = or_panic(|| stage.step(&step.what));
        let events = (0..stage.world.instances()).flat_map(|instance| stage.world.events(instance));
        let calls = events.filter(|event| matches!(event.kind, EventKind::Enter(_))).count();
        let exhausted = matches!(step.what, What::Do(_, Expected::Trap("call stack exhausted")));
        played.push(Played { line: step.line, verdict, calls, exhausted });
    }
    played
}

/// The world as a script knows it. What was made last is kept under no name.
struct Stage {
    flavour: Flavour,
    world: World,
    /// What balance needs to know of each instance.
    known: Vec<Arc<Known>>,
    definitions: HashMap<Option<String>, Arc<Ready>>,
    instances: HashMap<Option<String>, Instance>,
    registered: HashMap<String, HashMap<String, Extern>>,
}

/// How a deed ended.
enum Ended {
    Returned(Vec<Val>),
    Otherwise(Call),
    /// No instance: the imports do not fit.
    NotLinked(String),
}

fn name(id: Option<Id<'_>>) -> Option<String> {
    id.map(|id| id.name().to_owned())
}

impl Stage {
    fn step(&mut self, what: &What<'_>) -> Result<(), String> {
        match what {
            What::Module(id, module) => {
                let module = module.ready(self.flavour)?;
                self.instance(name(*id), &module)
            }
            What::Definition(id, module) => {
                let module = Arc::new(module.ready(self.flavour)?);
                self.definitions.extend([(None, module.clone()), (name(*id), module)]);
                Ok(())
            }
            What::Instance { instance, definition } => {
                let module = self.definitions.get(&name(*definition)).ok_or("no such module")?.clone();
                self.instance(name(*instance), &module)
            }
            What::Register(as_name, id) => {
                let instance = self.named(*id)?;
                let exports = instance.exports(self.world.store()).map(|e| (e.name().to_owned(), e.into_extern()));
                self.registered.insert((*as_name).to_owned(), exports.collect());
                Ok(())
            }
            What::Do(deed, expected) => {
                let ended = self.deed(deed)?;
                self.as_expected(ended, expected)
            }
            What::Refused(_) => Ok(()),
            What::Unknown => Err("a directive that is not known here".to_owned()),
        }
    }

    fn named(&self, id: Option<Id<'_>>) -> Result<Instance, String> {
        self.instances.get(&name(id)).copied().ok_or_else(|| "no such instance".to_owned())
    }

    fn instance(&mut self, name: Option<String>, module: &Ready) -> Result<(), String> {
        self.instances.remove(&None);
        match self.instantiate(module) {
            (Some(instance), _) => {
                self.instances.extend([(None, instance), (name, instance)]);
                Ok(())
            }
            (None, Ended::NotLinked(why)) => Err(why),
            (None, ended) => Err(format!("the module does not start: {}", ended.told())),
        }
    }

    /// Makes an instance, if that works, and checks the balance of what its start function did.
    fn instantiate(&mut self, module: &Ready) -> (Option<Instance>, Ended) {
        let registered = &self.registered;
        self.known.push(module.known.clone());
        let made = self.world.instantiate(&module.compiled, |_, import| {
            registered.get(import.module()).and_then(|exports| exports.get(import.name())).cloned()
        });
        match made {
            Ok(Ok(instance)) => {
                self.assert_balanced(&Call::returned(Vec::new()));
                (Some(instance), Ended::Returned(Vec::new()))
            }
            Ok(Err(call)) => {
                self.assert_balanced(&call);
                (None, Ended::Otherwise(call))
            }
            Err(e) => (None, Ended::NotLinked(format!("{e:#}"))),
        }
    }

    fn deed(&mut self, deed: &Deed<'_>) -> Result<Ended, String> {
        match deed {
            Deed::Instantiate(module) => Ok(self.instantiate(&module.ready(self.flavour)?).1),
            Deed::Get(id, global) => {
                let instance = self.named(*id)?;
                let global = instance.get_global(self.world.store(), global).ok_or("no such global")?;
                Ok(Ended::Returned(vec![global.get(self.world.store())]))
            }
            Deed::Invoke(invoke) => {
                let instance = self.named(invoke.module)?;
                let func = instance.get_func(self.world.store(), invoke.name).ok_or("no such function")?;
                let args = invoke.args.iter().map(|arg| values::argument(&mut self.world, arg));
                let args = args.collect::<Result<Vec<_>, _>>()?;
                Ok(match self.world.call(&func, &args) {
                    Ok(results) => {
                        self.assert_balanced(&Call::returned(Vec::new()));
                        Ended::Returned(results)
                    }
                    Err(call) => {
                        self.assert_balanced(&call);
                        Ended::Otherwise(call)
                    }
                })
            }
        }
    }

    fn assert_balanced(&self, call: &Call) {
        if self.flavour.has_hooks() {
            assert_all_balanced(&self.known, &self.world, call);
        }
    }

    fn as_expected(&mut self, ended: Ended, expected: &Expected<'_>) -> Result<(), String> {
        let as_said = match (&ended, expected) {
            (Ended::Returned(_), Expected::Return) => true,
            (Ended::Returned(values), Expected::Results(results)) => {
                return values::expect(&mut self.world, results, values);
            }
            (Ended::Otherwise(call), Expected::Trap(message)) => {
                matches!(&call.ending, RunOutcome::Trapped(trap) if is_reason(&trap.code, message))
            }
            (Ended::Otherwise(call), Expected::Exception) => {
                matches!(&call.ending, RunOutcome::Trapped(trap) if trap.code == "exception")
            }
            (Ended::NotLinked(_), Expected::Unlinkable) => true,
            _ => false,
        };
        if as_said { Ok(()) } else { Err(format!("{}, and not {}", ended.told(), expected.told())) }
    }
}

impl Ended {
    fn told(&self) -> String {
        match self {
            Ended::Returned(values) => format!("returned {values:?}"),
            Ended::Otherwise(Call { ending: RunOutcome::Trapped(trap), .. }) => format!("trapped: {}", trap.code),
            Ended::Otherwise(call) => format!("ended: {:?}", call.ending),
            Ended::NotLinked(why) => format!("was not linked: {why}"),
        }
    }
}

impl Expected<'_> {
    fn told(&self) -> String {
        match self {
            Expected::Return => "a return".to_owned(),
            Expected::Results(results) => format!("{results:?}"),
            Expected::Trap(message) => format!("the trap `{message}`"),
            Expected::Exception => "an exception".to_owned(),
            Expected::Unlinkable => "unlinkable".to_owned(),
        }
    }
}

/// Whether the engine's trap of that code is the one that the suite means. The suite also names the kind of a null reference,
/// or the element that there is not; and it used to say less.
fn is_reason(code: &str, message: &str) -> bool {
    let codes: &[&str] = match message {
        "integer divide by zero" => &["IntegerDivisionByZero"],
        "integer overflow" => &["IntegerOverflow"],
        "invalid conversion to integer" => &["BadConversionToInteger"],
        "unreachable" => &["UnreachableCodeReached"],
        "indirect call type mismatch" | "indirect call" => &["BadSignature"],
        "call stack exhausted" => &["StackOverflow"],
        "unaligned atomic" => &["HeapMisaligned"],
        "expected shared memory" => &["AtomicWaitNonSharedMemory"],
        "cast failure" => &["CastFailure"],
        "out of bounds memory access" => &["MemoryOutOfBounds"],
        "out of bounds table access" | "undefined element" | "undefined" => &["TableOutOfBounds"],
        "out of bounds array access" => &["ArrayOutOfBounds"],
        "out of bounds" => &["MemoryOutOfBounds", "TableOutOfBounds"],
        _ if message.starts_with("null ") && message.ends_with(" reference") => &["NullReference"],
        _ if message.starts_with("uninitialized") => &["IndirectCallToNull"],
        _ => &[],
    };
    codes.contains(&code)
}
