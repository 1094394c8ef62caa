"""What a recipe may say, and that everything wrong with it is said at once, each with its line."""

from __future__ import annotations

import pytest

from understudy.errors import InvalidOption, UsageError
from understudy.recipe.plan import find_unit, units_of
from understudy.recipe.reading import find_recipe, load_recipe, parse_recipe, shipped
from understudy.recipe.schedules import FOR_NEW
from understudy.recipe.scheduling import schedule_for
from understudy.recipe.toml_lines import lines_of
from understudy.recipe.variables import parse_settings
from understudy.training.options import TrainOptions

WRONG = """\
[variables]
gan = true

[[step]]
run = "faceset extrct"

[[step]]
run = "merge"
nme = "x"
blur_mask_modifier = 3000
mode = "overlya"

[[step]]
run = "train"
name = "{b}"
target_iter = 4
when = "gann"

[[step.phase]]
name = "x"
batch_sise = 8
resolution = 128
end = { iters = 4 }
"""


def test_every_fault_is_named_at_once_with_its_line():
    with pytest.raises(InvalidOption) as refused:
        parse_recipe(WRONG, file="shot.toml")
    lines = refused.value.message.splitlines()
    said = {line.split(":")[0].strip() for line in lines[1:]}
    assert lines[0].startswith("shot.toml has ")
    assert {f"line {number}" for number in (5, 7, 9, 10, 11, 15, 16, 17, 21, 22, 23)} <= said
    assert "faceset extract?" in refused.value.message
    assert "batch_size?" in refused.value.message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name = ", "no valid TOML"),
        ("steps = []", "no [[step]]"),
        ('[[step]]\nrun = "train"\nname = "a"', "a training has phases"),
        ('[[step]]\nrun = "train"\nname = "a"\n[[step.phase]]\nname = "x"', "a phase has an end"),
        ('[[step]]\nrun = "train"\nname = "a"\n[[step.phase]]\nname = "x"\nend = true', "end is a number"),
        ('[footage]\nsrc = "none.mp4"\n[[step]]\nrun = "video encode"', "there is no file none.mp4"),
        ('[[step]]\nrun = "video encode"\nphase = []', "for steps that train"),
        ('[[step]]\nrun = "train"\nschedule = "nowhere.toml"\nname = "a"', "There is no recipe"),
    ],
)
def test_what_makes_no_sense_is_refused(text, word):
    with pytest.raises(InvalidOption, match=word.replace("[", r"\[")):
        parse_recipe(text)


def test_lines_are_found_behind_long_texts_and_lists():
    text = 'a = """\n[[step]]\n"""\nb = [\n  "]",\n  2]\n[[step]]\nrun = "x" # [\n[[step.phase]]\nend.plateau = 3\n'
    lines = lines_of(text)
    assert lines[("step", 0)] == 7
    assert lines[("step", 0, "phase", 0, "end", "plateau")] == 10
    assert ("step", 1) not in lines


def test_variables_keep_their_kind_and_spell_themselves_out_in_texts():
    recipe = parse_recipe(
        '[variables]\nmodel = "hi"\nquick = "{model}-quick"\nwidth = 40\n'
        '[[step]]\nrun = "merge"\nname = "{quick} {{1}}"\nblur_mask_modifier = "{width}"',
        settings={"width": 60},
    )
    assert recipe.steps[0].arguments == {"name": "hi-quick {1}"}
    assert recipe.steps[0].options == {"blur_mask_modifier": 60}


def test_a_setting_must_be_of_the_kind_of_its_variable():
    text = '[variables]\ngan = true\n[[step]]\nrun = "video encode"\nwhen = "gan"'
    assert not parse_recipe(text, settings=parse_settings(["gan=false"])).steps[0].on
    with pytest.raises(InvalidOption, match="true or false"):
        parse_recipe(text, settings=parse_settings(["gan=maybe"]))
    with pytest.raises(InvalidOption, match="no variable x"):
        parse_recipe(text, settings=parse_settings(["x=1"]))


def test_paths_count_from_the_recipe(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"x")
    step = '[[step]]\nrun = "model export-dfm"\nname = "a"\noutput = "b.dfm"'
    text = f'workspace = "shot"\n[footage]\ndst = "clip.mp4"\n{step}'
    recipe = parse_recipe(text, folder=tmp_path)
    assert recipe.workspace == tmp_path / "shot"
    assert recipe.footage == {"dst": tmp_path / "clip.mp4"}
    assert recipe.steps[0].options["output"] == str(tmp_path / "b.dfm")


@pytest.mark.parametrize("name", ["classic", "default"])
def test_a_shipped_recipe_is_sound_with_every_switch_either_way(name):
    for value in (True, False):
        switches = [key for key, default in load_recipe(name).variables.items() if isinstance(default, bool)]
        recipe = load_recipe(name, dict.fromkeys(switches, value))
        units = [unit for unit in units_of(recipe) if unit.on]
        assert [unit.number for unit in units] == list(range(1, len(units) + 1))
        assert all(unit.phase.about for unit in units if unit.phase)


def test_classic_has_the_eleven_steps():
    recipe = load_recipe("classic")
    training = next(step.training for step in recipe.steps if step.training)
    numbers = {int(phase.name.split("-")[0]) for phase in training.phases}
    assert numbers == set(range(1, 12))
    for phase in training.phases:  # what each says of the warp is said by it, whatever came before
        assert "random_warp" in phase.options or "pretrain" in phase.options


def test_pace_multiplies_iterations_only():
    phases = next(step.training.phases for step in load_recipe("classic", {"pace": 0.001}).steps if step.training)
    warp = next(phase for phase in phases if phase.name == "2-warp")
    assert (warp.end.iterations, warp.end.plateau) == (150, 12)


def test_a_training_may_take_the_phases_of_another_recipe():
    text = '[variables]\npace = 0.5\n[[step]]\nrun = "train"\nname = "a"\nschedule = "default"\nbatch_size = 2'
    training = parse_recipe(text).steps[0].training
    assert training.model == "a"
    assert training.phases[0].end.iterations == 20_000
    assert training.common["batch_size"] == 2


def test_a_change_is_felt_from_where_it_is_made():
    frames, merge, encode = 'run = "video frames"\nside = "dst"', 'run = "merge"\nname = "a"', 'run = "video encode"'
    text = "\n".join(f"[[step]]\n{step}" for step in (frames, merge, encode))
    before = [unit.key for unit in units_of(parse_recipe(text))]
    after = [unit.key for unit in units_of(parse_recipe(text.replace('"a"', '"a"\nblur_mask_modifier = 9')))]
    machine = [unit.key for unit in units_of(parse_recipe(text.replace('"a"', '"a"\nworkers = 3\ndevice = "cpu"')))]
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert after[2] != before[2]
    assert machine == before


def test_steps_are_found_by_any_part_that_names_only_one():
    units = units_of(load_recipe("classic"))
    assert find_unit(units, "6-regular").id == "train-hello/6-regular"
    assert find_unit(units, "train-hello").id == "train-hello/2-warp"
    assert find_unit(units, "merge").id == "merge-hello"
    with pytest.raises(UsageError, match="more than one"):
        find_unit(units, "video")


def test_options_of_new_models_are_options():
    assert set(FOR_NEW) <= set(TrainOptions.model_fields)


def test_an_unknown_recipe_names_those_that_there_are():
    with pytest.raises(UsageError) as refused:
        find_recipe("clasic")
    assert all(name in refused.value.hint for name in shipped())


STEP = '[[step]]\nrun = "train"\nname = "a"\n'
PHASE = '[[step.phase]]\nname = "x"\nend = 3\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (".".join(["a"] * 5000) + " = 1", "nested too deeply"),
        ("x = " + "9" * 5000, "too long"),
        (f'title = "{"x" * 10_000_000}"\n', "too long for a recipe"),
        (STEP + PHASE.replace("3", "{ minutes = nan }"), "minutes is a number above 0"),
        (STEP + PHASE.replace("3", "{ minutes = inf }"), "minutes is a number above 0"),
        (STEP + PHASE.replace("3", "9" * 400), "iterations is a number above 0"),
        (STEP + "pace = inf\n" + PHASE, "pace is a number above 0"),
        (STEP + "pace = nan\n" + PHASE, "pace is a number above 0"),
        (STEP.replace('"a"', '"../../a"') + PHASE, "cannot be a model name"),
        (STEP + PHASE + 'copy_as = "../a"', "cannot be a model name"),
    ],
    ids=lambda value: value[-30:],
)
def test_nonsense_of_any_kind_is_refused_and_not_stumbled_over(text, word):
    with pytest.raises(InvalidOption, match=word):
        parse_recipe(text)


def test_variables_that_hold_each_other_twice_and_again_are_refused():
    lines = [f'a{number} = "{{a{number - 1}}}{{a{number - 1}}}"' for number in range(1, 60)]
    with pytest.raises(InvalidOption, match="with its variables replaced"):
        parse_recipe("\n".join(["[variables]", 'a0 = "ha"', *lines, STEP + PHASE]))


def test_a_setting_that_no_number_can_be_is_refused():
    text = f"[variables]\nwidth = 4.0\n{STEP}{PHASE}"
    for value in ("9" * 400, "9" * 5000, "[" * 5000):
        with pytest.raises(InvalidOption, match="width"):
            parse_recipe(text, settings=parse_settings([f"width={value}"]))


def test_recipes_that_take_their_phases_from_each_other_are_refused(tmp_path):
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / f"{name}.toml").write_text(f'{STEP}schedule = "{other}.toml"\n')
    with pytest.raises(InvalidOption, match="would take its phases from itself"):
        load_recipe(tmp_path / "one.toml")


def test_a_home_that_nobody_has_is_a_folder_like_any_other(tmp_path):
    recipe = parse_recipe(f'workspace = "~nobody-of-this-name/x"\n{STEP}{PHASE}', folder=tmp_path)
    assert recipe.workspace == tmp_path / "~nobody-of-this-name/x"


def test_phases_alone_need_no_name_of_a_model(tmp_path):
    (tmp_path / "phases.toml").write_text('[[train.phase]]\nname = "warp"\nend = 3\n')
    with pytest.raises(InvalidOption, match="which model"):
        load_recipe(tmp_path / "phases.toml")
    recipe = schedule_for("hello", tmp_path / "phases.toml", TrainOptions())
    assert [(step.training.model, step.training.phases[0].name) for step in recipe.steps] == [("hello", "warp")]
    taken = parse_recipe(f'{STEP}schedule = "phases.toml"', folder=tmp_path).steps[0].training
    assert (taken.model, taken.phases[0].name) == ("a", "warp")


def test_phases_that_no_step_takes_are_a_fault():
    with pytest.raises(InvalidOption, match=r"line 3: \[train\] is for nothing"):
        parse_recipe('[[step]]\nrun = "video encode"\n[[train.phase]]\nname = "a"\nend = 1')


def test_a_variable_may_be_set_to_nothing():
    text = '[variables]\nsize = 512\n[[step]]\nrun = "faceset extract"\nside = "src"\nimage_size = "{size}"'
    assert parse_recipe(text).steps[0].options == {"image_size": 512}
    assert parse_recipe(text, settings={"size": ""}).steps[0].options == {}
