"""What can be chosen when frames are taken out of a video and when a video is made of frames."""

from __future__ import annotations

from enum import StrEnum

from pydantic import field_validator, model_validator

from understudy.media.timecode import parse_moment
from understudy.options import Options, option


class FrameFormat(StrEnum):
    """File format of one frame."""

    PNG = "png"
    JPG = "jpg"
    EXR = "exr"


class VideoFormat(StrEnum):
    """Container of a delivered video."""

    MP4 = "mp4"
    MOV = "mov"
    MKV = "mkv"
    AVI = "avi"


class VideoCodec(StrEnum):
    """Codec of a delivered picture. auto: H.264 for 8 bit, HEVC for deeper footage, the fitting one for lossless."""

    AUTO = "auto"
    H264 = "h264"
    HEVC = "hevc"
    FFV1 = "ffv1"
    PRORES = "prores"


class Preset(StrEnum):
    """How much time the encoder takes to make files smaller."""

    ULTRAFAST = "ultrafast"
    SUPERFAST = "superfast"
    VERYFAST = "veryfast"
    FASTER = "faster"
    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"
    SLOWER = "slower"
    VERYSLOW = "veryslow"


class StreamCopy(StrEnum):
    """Whether a part of a video may be copied without encoding it anew."""

    NO = "no"
    IF_POSSIBLE = "if-possible"
    ONLY = "only"


class Deinterlace(StrEnum):
    """How whole pictures are made of interlaced footage. frame: one of each frame; field: one of each field."""

    OFF = "off"
    FRAME = "frame"
    FIELD = "field"


class FramesOptions(Options):
    """How frames of a video become files."""

    fps: float = option(0, "Frames to keep per second; 0 keeps every frame. Never repeats one.", group="Frames",
                        unit="frames/s", ge=0, le=1000)  # fmt: skip
    format: FrameFormat = option(FrameFormat.PNG, "File format; png keeps every pixel, 16 bit for deep footage.",
                                 group="Frames")  # fmt: skip
    quality: int = option(95, "Quality of jpg frames.", group="Frames", ge=1, le=100)
    square_pixels: bool = option(False, "Stretch anamorphic footage so that faces keep their proportions; "
                                 "for src, since the result must keep the size of dst.", group="Frames")  # fmt: skip
    deinterlace: Deinterlace = option(Deinterlace.OFF, "Make whole pictures of interlaced footage: one of "
                                      "each frame, or one of each field, twice as many, for src.",
                                      group="Frames")  # fmt: skip
    replace: bool = option(False, "Replace frames made with other settings; the old ones move to the trash.",
                           group="Frames")  # fmt: skip
    workers: int = option(0, "Threads that write frames; 0 uses the cores.", group="Speed", ge=0, le=256)


class EncodeOptions(Options):
    """How merged frames become a video."""

    format: VideoFormat = option(VideoFormat.MP4, "Container of the result.", group="Output")
    codec: VideoCodec = option(VideoCodec.AUTO, "Codec of the picture; auto is H.264, HEVC for more than 8 bit.",
                               group="Output")  # fmt: skip
    lossless: bool = option(False, "Lose nothing: the exact planes in the pixel format of dst.", group="Output")
    crf: int = option(16, "Constant quality; smaller is better and larger.", group="Output", ge=0, le=51)
    bitrate: float = option(0, "Mean bit rate; 0 uses the constant quality instead.", group="Output", unit="Mbit/s",
                            ge=0, le=2000)  # fmt: skip
    preset: Preset = option(Preset.MEDIUM, "Effort of the H.264 and HEVC encoders.", group="Output")
    compatible: bool = option(False, "8-bit 4:2:0, which every player and browser shows.", group="Output")
    include_audio: bool = option(True, "Carry the sound of dst over.", group="Sound")
    mask: bool = option(True, "Also write result_mask, lossless, when there are merged masks.", group="Output")
    fps: float = option(0, "Frames per second where dst is pictures without times; 0 is 25.", group="Output",
                        unit="frames/s", ge=0, le=1000)  # fmt: skip
    threads: int = option(0, "Threads of the encoder; 0 uses the cores.", group="Speed", ge=0, le=256)

    @model_validator(mode="after")
    def _check(self) -> EncodeOptions:
        if self.lossless and self.bitrate:
            raise ValueError("lossless and bitrate do not go together")
        if self.lossless and self.compatible:
            raise ValueError("lossless and compatible do not go together: compatible changes the pixel format")
        if self.lossless and self.codec is VideoCodec.PRORES:
            raise ValueError("lossless and codec prores do not go together; ffv1 is lossless")
        return self


class CutOptions(Options):
    """Which part of a video, and how it is written."""

    from_: str = option("", "Where the part begins: hh:mm:ss.mmm, seconds, timecode hh:mm:ss:ff, or frame f123.",
                        group="Part")  # fmt: skip
    to: str = option("", "Where it ends: a time, whose frame is left out, or the last frame f200; empty is the end.",
                     group="Part")  # fmt: skip
    lossless: bool = option(False, "Lose nothing: the exact planes in their pixel format.", group="Output")
    bitrate: float = option(0, "Mean bit rate; 0 uses the constant quality instead.", group="Output", unit="Mbit/s",
                            ge=0, le=2000)  # fmt: skip
    crf: int = option(16, "Constant quality; smaller is better and larger.", group="Output", ge=0, le=51)
    preset: Preset = option(Preset.MEDIUM, "Effort of the H.264 and HEVC encoders.", group="Output")
    copy_: StreamCopy = option(StreamCopy.NO, "Copy without encoding, which is quick and loses nothing, where the part "
                               "begins at a key frame; only: refuse where it does not.", group="Output")  # fmt: skip
    audio_track: int = option(-1, "Which sound track, from 0; -1 takes all.", group="Sound", ge=-1, le=99)
    output: str = option("", "The file to write; by default NAME_cut beside the video.", group="Output")
    replace: bool = option(False, "Write over an older cut of that name.", group="Output")
    threads: int = option(0, "Threads of the encoder; 0 uses the cores.", group="Speed", ge=0, le=256)

    @field_validator("from_", "to")
    @classmethod
    def _is_time(cls, text: str) -> str:
        parse_moment(text)
        return text

    @field_validator("from_")
    @classmethod
    def _is_no_end(cls, text: str) -> str:
        if text.strip().lower() == "end":
            raise ValueError("a part cannot begin at the end")
        return text

    @model_validator(mode="after")
    def _check(self) -> CutOptions:
        if self.lossless and self.bitrate:
            raise ValueError("lossless and bitrate do not go together")
        if self.copy_ is StreamCopy.ONLY and (self.lossless or self.bitrate):
            raise ValueError("copy only does not go together with lossless or bitrate: it encodes nothing")
        return self


class DenoiseOptions(Options):
    """How much noise is taken out of frames."""

    factor: int = option(7, "Strength: how many of 255 levels neighbours may differ and still be evened out.",
                         group="Denoise", ge=1, le=20)  # fmt: skip
    quality: int = option(95, "Quality of frames that are jpg.", group="Denoise", ge=1, le=100)
    workers: int = option(0, "Threads that clean frames; 0 uses the cores.", group="Speed", ge=0, le=256)
