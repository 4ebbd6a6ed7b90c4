# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""As much of the packages launch and launch_ros as our launch file uses; the wheels have neither.

`install()` makes them importable; `launch(file, arguments)` evaluates a file with the rules of the
real ones: configurations are scoped by groups and seen by included files, namespaces add up.
"""

import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import yaml
from ament_index_python.packages import get_package_prefix


class Action:
    """Keeps its arguments; `execute` returns the actions that come of it."""

    def __init__(self, *arguments, **named):
        self.arguments, self.named = arguments, named

    def execute(self, context):
        raise NotImplementedError


def visit(entities, context):
    for entity in entities:
        visit(entity.execute(context) or [], context)


class LaunchDescription(Action):
    def execute(self, context):
        return self.arguments[0]


class DeclareLaunchArgument(Action):
    @property
    def name(self):
        return self.arguments[0]

    def execute(self, context):
        value = context.launch_configurations.setdefault(self.name, self.named['default_value'])
        choices = self.named.get('choices')
        if choices and value not in choices:
            raise RuntimeError(f'{self.name} is {value}, not one of {choices}')


class GroupAction(Action):
    def execute(self, context):
        before = dict(context.launch_configurations)
        visit(self.arguments[0], context)
        context.launch_configurations.clear()
        context.launch_configurations.update(before)


class OpaqueFunction(Action):
    def execute(self, context):
        return self.named['function'](context)


class UnsetLaunchConfiguration(Action):
    def execute(self, context):
        context.launch_configurations.pop(self.arguments[0], None)


class LogInfo(Action):
    def execute(self, context):
        print(self.named['msg'], file=sys.stderr)


class IncludeLaunchDescription(Action):
    def execute(self, context):
        context.launch_configurations.update(self.named.get('launch_arguments', ()))
        return [self.arguments[0].description()]


class PythonLaunchDescriptionSource(Action):
    def description(self):
        return runpy.run_path(self.arguments[0])['generate_launch_description']()


class LaunchConfiguration(Action):
    def perform(self, context):
        return context.launch_configurations[self.arguments[0]]


class ParameterValue(Action):
    def value(self):
        return self.named['value_type'](self.arguments[0])


class PushRosNamespace(Action):
    def execute(self, context):
        context.launch_configurations['ros_namespace'] = joined(context, self.arguments[0])


class Node(Action):
    def execute(self, context):
        prefix = get_package_prefix(self.named['package'])
        program = Path(prefix) / 'lib' / self.named['package'] / self.named['executable']
        words = [str(program), *self.named.get('arguments', ()), '--ros-args']
        if 'name' in self.named:
            words += ['-r', f'__node:={text_of(self.named["name"], context)}']
        namespace = joined(context, text_of(self.named.get('namespace', ''), context))
        if namespace != '/':
            words += ['-r', f'__ns:={namespace}']
        for parameters in self.named.get('parameters', ()):
            words += ['--params-file', parameter_file(parameters, context)]
        for name, topic in self.named.get('remappings', ()):
            words += ['-r', f'{name}:={topic}']
        delay = self.named.get('respawn_delay') if self.named.get('respawn') else None
        context.commands.append((words, delay))


def text_of(value, context):
    return value.perform(context) if isinstance(value, LaunchConfiguration) else value


def joined(context, namespace):
    outer = context.launch_configurations.get('ros_namespace', '/')
    return str(Path('/', '' if namespace.startswith('/') else outer, namespace))


def parameter_file(parameters, context):
    """The path of a file with the parameters; texts are read as YAML, as launch does it."""
    if isinstance(parameters, str):
        return parameters
    values = {}
    for name, value in parameters.items():
        if isinstance(value, ParameterValue):
            values[name] = value.value()
        elif isinstance(value, bool):
            values[name] = value
        else:
            values[name] = yaml.safe_load(text_of(value, context) or "''")
    with tempfile.NamedTemporaryFile('w', suffix='.yaml', delete=False) as file:
        yaml.safe_dump({'/**': {'ros__parameters': values}}, file)
    return file.name


MODULES = {
    'launch': {'LaunchDescription': LaunchDescription, 'LaunchContext': SimpleNamespace},
    'launch.actions': {
        kind.__name__: kind
        for kind in (
            DeclareLaunchArgument,
            GroupAction,
            IncludeLaunchDescription,
            LogInfo,
            OpaqueFunction,
            UnsetLaunchConfiguration,
        )
    },
    'launch.launch_description_entity': {'LaunchDescriptionEntity': Action},
    'launch.launch_description_sources': {
        'PythonLaunchDescriptionSource': PythonLaunchDescriptionSource
    },
    'launch.substitutions': {'LaunchConfiguration': LaunchConfiguration},
    'launch_ros': {},
    'launch_ros.actions': {'Node': Node, 'PushRosNamespace': PushRosNamespace},
    'launch_ros.parameter_descriptions': {'ParameterValue': ParameterValue},
}


def install():
    for name, contents in MODULES.items():
        module = ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module


def heed_signals():
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def launch(file, arguments):
    """Run what a launch file starts until SIGINT; returns the exit status."""
    pairs = [argument.split(':=', 1) for argument in arguments]
    context = SimpleNamespace(launch_configurations=dict(pairs), commands=[])
    try:
        visit([PythonLaunchDescriptionSource(file).description()], context)
    except Exception as error:
        print(f'[ERROR] [launch]: Caught exception in launch: {error}', file=sys.stderr)
        return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    processes = [started(words) for words, _ in context.commands]
    while signal.sigtimedwait([signal.SIGINT], 0.1) is None:
        for index, (words, delay) in enumerate(context.commands):
            if delay is not None and processes[index].poll() is not None:
                time.sleep(delay)
                processes[index] = started(words)
    for process in processes:
        process.send_signal(signal.SIGINT)
    return max(process.wait(60) for process in processes)


def started(words):
    return subprocess.Popen(words, preexec_fn=heed_signals)
